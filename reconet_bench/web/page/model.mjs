// A style network in ONNX Runtime Web: pictures in, pictures out. Used by the benchmark's page and by the live page.

/** Loads ONNX Runtime Web for a backend ("wasm" or "webgpu") from a folder of this server. */
export async function load(backend, folder, threads, verbose = false) {
  const ort = await import(`${folder}/ort.${backend}.min.mjs`);
  ort.env.wasm.wasmPaths = new URL(`${folder}/`, location.href).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = verbose ? "verbose" : "error";
  return ort;
}

/** Arrays of what a network may take, by ONNX Runtime's name; not every browser has floats of 16 bits. */
const ARRAYS = { float32: Float32Array, float16: globalThis.Float16Array, uint8: Uint8Array };

/** A network with what its numbers mean; see ModelSource in Python for the facts. */
export class StyleModel {
  constructor(ort, session, facts) {
    Object.assign(this, { ort, session, facts });
    this.feed = null;
    this.kind = session.inputMetadata.find(({ name }) => name === facts.input)?.type ?? "float32";
    if (!ARRAYS[this.kind]) throw new Error(`this browser has no ${this.kind}: export the network in fp32`);
  }

  static async open(ort, backend, bytes, facts, verbose = false) {
    const options = {
      executionProviders: [backend],
      graphOptimizationLevel: "all",
      logSeverityLevel: verbose ? 0 : 3,
      logVerbosityLevel: 0,
    };
    return new StyleModel(ort, await ort.InferenceSession.create(bytes, options), facts);
  }

  /** The size that a frame is padded to. */
  padded(width, height) {
    const m = this.facts.multiple;
    return [Math.ceil(width / m) * m, Math.ceil(height / m) * m];
  }

  /** An ImageData as the network takes it: padded by reflection, encoded and laid out. */
  encode(image) {
    const { width, height, data } = image;
    const [wide, tall] = this.padded(width, height);
    const { mean, std, bgr, layout } = this.facts;
    const last = layout === "NHWC";
    const plane = wide * tall;
    if (!this.feed || this.feed.length !== 3 * plane) this.feed = new ARRAYS[this.kind](3 * plane);
    const out = this.feed;
    for (let c = 0; c < 3; c++) {
      const to = bgr ? 2 - c : c;
      const scale = 1 / (255 * std[c]);
      const shift = mean[c] / std[c];
      for (let y = 0; y < tall; y++) {
        const row = (y < height ? y : 2 * height - 2 - y) * width;
        for (let x = 0; x < wide; x++) {
          const value = data[4 * (row + (x < width ? x : 2 * width - 2 - x)) + c] * scale - shift;
          out[last ? 3 * (y * wide + x) + to : to * plane + y * wide + x] = value;
        }
      }
    }
    return new this.ort.Tensor(this.kind, out, last ? [1, tall, wide, 3] : [1, 3, tall, wide]);
  }

  /** What the network gives, as an ImageData of the size of the frame. */
  decode(tensor, width, height, image = new ImageData(width, height)) {
    const [wide, tall] = this.padded(width, height);
    const { outMean, outStd, outBgr, layout } = this.facts;
    const last = layout === "NHWC";
    const plane = wide * tall;
    const values = tensor.data;
    const out = image.data; // clamped, and rounded half to even, as in Python
    for (let c = 0; c < 3; c++) {
      const from = outBgr ? 2 - c : c;
      const scale = 255 * outStd[c];
      const shift = 255 * outMean[c];
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          out[4 * (y * width + x) + c] =
            values[last ? 3 * (y * wide + x) + from : from * plane + y * wide + x] * scale + shift;
        }
      }
    }
    for (let i = 3; i < out.length; i += 4) out[i] = 255;
    return image;
  }

  /** Floats as a tensor of the network's own type; 8 bits are rounded. */
  tensor(floats, dims) {
    const values = this.kind === "uint8" ? Uint8ClampedArray.from(floats) : floats;
    return new this.ort.Tensor(this.kind, ARRAYS[this.kind].from(values), dims);
  }

  /** Tensor to tensor. */
  async run(tensor) {
    const results = await this.session.run({ [this.facts.input]: tensor });
    return results[this.facts.output];
  }

  /** Picture to picture. */
  async stylise(image) {
    const y = await this.run(this.encode(image));
    const painted = this.decode(y, image.width, image.height);
    y.dispose?.();
    return painted;
  }
}
