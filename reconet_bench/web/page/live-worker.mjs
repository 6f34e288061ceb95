// The network of the live page, in a thread of its own, so that the page answers while it computes.
import { load, StyleModel } from "./model.mjs";

let model = null;
let backend = "";

/** WebGPU if there is a real adapter, else WebAssembly. */
async function choose() {
  if (!navigator.gpu) return "wasm";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter) return "wasm";
  const info = adapter.info ?? {};
  const name = [info.vendor, info.architecture, info.description].join(" ");
  return adapter.isFallbackAdapter || info.isFallbackAdapter || /swiftshader|llvmpipe|software/i.test(name) ? "wasm" : "webgpu";
}

const handlers = {
  async open({ url, facts, threads }) {
    backend ||= await choose();
    const ort = await load(backend, new URL("ort", self.location).href, threads);
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    const next = await StyleModel.open(ort, backend, new Uint8Array(await answer.arrayBuffer()), facts);
    const before = model;
    model = next;
    await before?.session.release();
    return [{ backend, threads: backend === "wasm" ? threads : 0 }];
  },

  async frame({ image }) {
    const start = performance.now();
    const y = await model.run(model.encode(image));
    model.decode(y, image.width, image.height, image);
    y.dispose?.();
    return [{ image, ms: performance.now() - start }, [image.data.buffer]];
  },
};

self.onmessage = async ({ data }) => {
  try {
    const [answer, transfer] = await handlers[data.what](data);
    self.postMessage({ id: data.id, answer }, transfer ?? []);
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error?.message ?? error) });
  }
};
