// The page that the runtime onnxruntime-web drives: it holds one model, and has the clock.
import { load, StyleModel } from "./model.mjs";

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const text = (array) => {
  const view = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let out = "";
  for (let i = 0; i < view.length; i += 0x8000) out += String.fromCharCode(...view.subarray(i, i + 0x8000));
  return btoa(out);
};
const picture = ({ rgba, width, height }) => new ImageData(new Uint8ClampedArray(bytes(rgba).buffer), width, height);

let model = null;

window.bench = {
  isolated: () => globalThis.crossOriginIsolated,

  /** The adapter that WebGPU would use, or why there is none. */
  async adapter() {
    if (!navigator.gpu) return { reason: "this browser has no WebGPU" };
    const adapter = await navigator.gpu.requestAdapter();
    if (!adapter) return { reason: "WebGPU has no adapter here" };
    const info = adapter.info ?? {};
    const name = [info.vendor, info.architecture, info.description].filter(Boolean).join(" ");
    const software = Boolean(adapter.isFallbackAdapter || info.isFallbackAdapter || /swiftshader|llvmpipe|software/i.test(name));
    return { name, software };
  },

  /** Loads the model; returns the seconds that its session took to open. */
  async load({ backend, threads, facts, verbose }) {
    const ort = await load(backend, "/ort", threads, verbose);
    const file = new Uint8Array(await (await fetch("/model.onnx")).arrayBuffer());
    const start = performance.now();
    const opened = await StyleModel.open(ort, backend, file, facts, verbose);
    const seconds = (performance.now() - start) / 1000;
    if (model) await model.session.release();
    model = opened;
    return seconds;
  },

  /** Floats to floats, in the range and layout of the network. */
  async infer({ data, dims }) {
    const y = await model.run(model.tensor(new Float32Array(bytes(data).buffer), dims));
    const answer = { data: text(Float32Array.from(await y.getData())), dims: y.dims };
    y.dispose?.();
    return answer;
  },

  async stylise(frame) {
    const painted = await model.stylise(picture(frame));
    return text(painted.data);
  },

  /** Seconds of one frame: "device" from tensor to tensor, "end_to_end" from ImageData to ImageData. */
  async time({ frame, boundary }) {
    const image = picture(frame);
    if (boundary === "device") {
      const tensor = model.encode(image);
      const start = performance.now();
      const y = await model.run(tensor);
      const taken = performance.now() - start;
      y.dispose?.();
      return taken / 1000;
    }
    const start = performance.now();
    await model.stylise(image);
    return (performance.now() - start) / 1000;
  },
};
