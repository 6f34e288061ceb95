// The live page: a picture in, through the network, and shown; sized so that it keeps up.
const get = (id) => document.getElementById(id);
const ui = Object.fromEntries(
  ["facts", "stage", "shown", "divider", "notice", "camera", "open", "clip", "file", "model", "strength", "strength-value", "wipe",
   "wipe-value", "size", "play", "record", "meter", "flicker", "save"].map((id) => [id, get(id)]),
);
const WIDTHS = [96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512, 576, 640];
const WANTED = 24; // frames a second
const STILL = 3; // largest change of a pixel that stands still, of 255

const video = document.createElement("video");
Object.assign(video, { muted: true, playsInline: true, loop: true });
const small = document.createElement("canvas"); // the frame as the network gets it
const painted = document.createElement("canvas"); // the frame as it comes back
const pen = (canvas, options) => canvas.getContext("2d", options);
const smallPen = pen(small, { willReadFrequently: true });
const paintedPen = pen(painted);
const shownPen = pen(ui.shown);

const state = { width: 224, playing: true, ready: false, shown: [], taken: [], counted: 0, backend: "", threads: 0, before: null, kind: "", last: 0 };
let worker = null;
let recorder = null;
let catalogue = { models: [], clip: "" };

// ---- the network's thread: one question at a time, answered by its number
let questions = 0;
const waiting = new Map();
function startWorker() {
  worker = new Worker(new URL("live-worker.mjs", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    data.error === undefined ? resolve(data.answer) : reject(new Error(data.error));
  };
  worker.onerror = (event) => notice(`The network stopped: ${event.message || "not enough memory?"} Reload the page.`);
}
function ask(what, facts, transfer = []) {
  const id = ++questions;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, what, ...facts }, transfer);
  });
}

function notice(text) {
  ui.notice.textContent = text;
  ui.notice.hidden = !text;
}

// ---- where the picture comes from
function stopCamera() {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}
async function show(kind, source) {
  stopCamera();
  if (source instanceof MediaStream) {
    video.removeAttribute("src");
    video.srcObject = source;
  } else {
    video.src = source;
  }
  state.kind = kind;
  state.before = null;
  try {
    await video.play();
    notice("");
  } catch (error) {
    if (error.name !== "AbortError") notice(`This ${kind} cannot be played: ${error.message}`);
  }
  playing(true);
}
async function useCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    notice("This browser gives no camera to this address: open the page on localhost or over https, or open a video.");
    return;
  }
  try {
    await show("camera", await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false }));
  } catch (error) {
    const why = { NotAllowedError: "it was not allowed", NotFoundError: "there is none", NotReadableError: "another program has it" };
    notice(`No camera: ${why[error.name] ?? error.message}. Open a video, or take the built-in clip.`);
  }
}

// ---- a frame
function workingSize() {
  const width = ui.size.value === "auto" ? state.width : Number(ui.size.value);
  const ratio = video.videoHeight / video.videoWidth;
  return [width, Math.max(16, Math.round((width * ratio) / 4) * 4)];
}
function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}
function draw() {
  const { videoWidth: width, videoHeight: height } = video;
  resize(ui.shown, width, height);
  const split = Math.round((width * Number(ui.wipe.value)) / 100);
  shownPen.globalAlpha = 1;
  shownPen.drawImage(video, 0, 0, width, height);
  shownPen.globalAlpha = Number(ui.strength.value) / 100;
  shownPen.save();
  shownPen.beginPath();
  shownPen.rect(split, 0, width - split, height);
  shownPen.clip();
  shownPen.imageSmoothingQuality = "high";
  shownPen.drawImage(painted, 0, 0, width, height);
  shownPen.restore();
}
/** E(V) along no motion: the root mean square change of the painting where the content stands still. */
function flicker(content, image) {
  const now = { content: content.slice(), painted: image.data.slice() };
  const before = state.before;
  state.before = now;
  if (!before || before.content.length !== now.content.length) return;
  let squares = 0;
  let still = 0;
  for (let i = 0; i < now.content.length; i += 4) {
    if ([0, 1, 2].some((c) => Math.abs(now.content[i + c] - before.content[i + c]) > STILL)) continue;
    still++;
    for (let c = 0; c < 3; c++) squares += ((now.painted[i + c] - before.painted[i + c]) / 255) ** 2;
  }
  const share = still / (now.content.length / 4);
  ui.flicker.textContent =
    share < 0.02 ? "nothing stands still" : `flicker ${Math.sqrt(squares / (3 * still)).toFixed(4)} on the ${Math.round(100 * share)} % that stand still`;
}
/** Smaller where frames take too long, larger where there is time to spare. */
function adapt(whole, network) {
  state.taken.push([whole, network]);
  if (state.taken.length < 8) return;
  const [all, own] = [0, 1].map((n) => state.taken.map((pair) => pair[n]).sort((a, b) => a - b)[4]);
  state.taken = [];
  if (ui.size.value !== "auto") return;
  const budget = 1000 / WANTED;
  const index = WIDTHS.indexOf(state.width);
  const growth = index + 1 < WIDTHS.length ? (WIDTHS[index + 1] / state.width) ** 2 - 1 : Infinity;
  // Where the rest takes most of the time, a smaller picture for the network would not help.
  if (all > budget && own > 0.4 * all && index > 0) state.width = WIDTHS[index - 1];
  else if (all + own * growth < 0.85 * budget) state.width = WIDTHS[index + 1];
}
function count(now) {
  state.counted++;
  document.documentElement.dataset.frames = state.counted;
  state.shown.push(now);
  while (state.shown.length && now - state.shown[0] > 2000) state.shown.shift();
  const span = (now - state.shown[0]) / 1000;
  if (state.shown.length < 2 || state.counted % 4) return;
  const fps = (state.shown.length - 1) / span;
  const where = state.backend === "webgpu" ? "WebGPU" : `WebAssembly, ${state.threads} thread${state.threads === 1 ? "" : "s"}`;
  ui.facts.textContent = `${fps.toFixed(1)} frames a second · ${state.ms.toFixed(0)} ms a frame · ${small.width}x${small.height} · ${where}`;
  document.documentElement.dataset.fps = fps.toFixed(2);
}
async function step() {
  if (!state.ready || !state.playing || video.readyState < 2 || !video.videoWidth) {
    state.last = 0;
    return false;
  }
  const [width, height] = workingSize();
  resize(small, width, height);
  smallPen.drawImage(video, 0, 0, width, height);
  const image = smallPen.getImageData(0, 0, width, height);
  const content = ui.meter.checked ? image.data.slice() : null;
  const start = performance.now();
  const answer = await ask("frame", { image }, [image.data.buffer]);
  state.ms = performance.now() - start;
  resize(painted, width, height);
  paintedPen.putImageData(answer.image, 0, 0);
  if (content) flicker(content, answer.image);
  draw();
  const now = performance.now();
  if (state.last) adapt(now - state.last, state.ms);
  state.last = now;
  count(now);
  return true;
}
async function loop() {
  for (;;) {
    let done = false;
    try {
      done = await step();
    } catch (error) {
      state.ready = false;
      notice(`The network failed: ${error.message}`);
    }
    if (!done && video.videoWidth && state.backend && !state.ready) draw();
    await new Promise((resolve) => (done ? setTimeout(resolve, 0) : setTimeout(resolve, 50)));
  }
}

// ---- controls
async function openModel() {
  const chosen = catalogue.models.find(({ name }) => name === ui.model.value);
  state.ready = false;
  ui.facts.textContent = `loading ${chosen.name} …`;
  const cores = navigator.hardwareConcurrency || 1;
  const threads = globalThis.crossOriginIsolated ? Math.min(cores, 8) : 1;
  try {
    const found = await ask("open", { url: new URL(chosen.url, location.href).href, facts: chosen.facts, threads });
    Object.assign(state, found, { ready: true, shown: [], taken: [], before: null });
    if (!globalThis.crossOriginIsolated && found.backend === "wasm")
      notice("This server sends no cross-origin isolation headers, so the network runs on one thread.");
  } catch (error) {
    notice(`The model cannot be loaded: ${error.message}`);
  }
}
function playing(on) {
  state.playing = on;
  ui.play.textContent = on ? "Pause" : "Play";
  ui.play.setAttribute("aria-pressed", String(on));
  if (on) video.play().catch(() => {});
  else video.pause();
  state.shown = [];
}
function setWipe(value) {
  ui.wipe.value = Math.min(100, Math.max(0, value));
  ui["wipe-value"].textContent = `${Math.round(ui.wipe.value)} %`;
  ui.divider.style.left = `${ui.wipe.value}%`;
  ui.stage.setAttribute("aria-valuenow", String(Math.round(ui.wipe.value)));
  if (!state.playing && video.videoWidth) draw();
}
function record() {
  if (recorder) {
    recorder.stop();
    return;
  }
  if (typeof MediaRecorder === "undefined") {
    notice("This browser cannot record.");
    return;
  }
  const parts = [];
  recorder = new MediaRecorder(ui.shown.captureStream(30), { mimeType: "video/webm" });
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => {
    recorder = null;
    ui.record.textContent = "Record";
    ui.record.setAttribute("aria-pressed", "false");
    if (ui.save.href) URL.revokeObjectURL(ui.save.href);
    ui.save.href = URL.createObjectURL(new Blob(parts, { type: "video/webm" }));
    ui.save.hidden = false;
  };
  recorder.start(500);
  ui.record.textContent = "Stop";
  ui.record.setAttribute("aria-pressed", "true");
}

ui.camera.onclick = useCamera;
ui.open.onclick = () => ui.file.click();
ui.file.onchange = () => ui.file.files[0] && show("video", URL.createObjectURL(ui.file.files[0]));
ui.clip.onclick = () => show("clip", catalogue.clip);
ui.model.onchange = openModel;
ui.size.onchange = () => (state.taken = []);
ui.strength.oninput = () => {
  ui["strength-value"].textContent = `${ui.strength.value} %`;
  if (!state.playing && video.videoWidth) draw();
};
ui.wipe.oninput = () => setWipe(Number(ui.wipe.value));
ui.play.onclick = () => playing(!state.playing);
ui.record.onclick = record;
ui.meter.onchange = () => {
  ui.flicker.hidden = !ui.meter.checked;
  state.before = null;
};
const pointed = (event) => {
  const box = ui.stage.getBoundingClientRect();
  setWipe((100 * (event.clientX - box.left)) / box.width);
};
ui.stage.onpointerdown = (event) => {
  ui.stage.setPointerCapture(event.pointerId);
  pointed(event);
};
ui.stage.onpointermove = (event) => ui.stage.hasPointerCapture(event.pointerId) && pointed(event);
ui.stage.onkeydown = (event) => {
  const steps = { ArrowLeft: -5, ArrowRight: 5, Home: -100, End: 100 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  setWipe(Number(ui.wipe.value) + steps[event.key]);
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName)) return;
  const actions = { " ": ui.play.onclick, r: record, c: useCamera };
  const action = actions[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
});

async function begin() {
  catalogue = await (await fetch("live.json")).json();
  for (const { name, title } of catalogue.models) ui.model.add(new Option(title, name));
  startWorker();
  show("clip", catalogue.clip);
  loop();
  await openModel();
}
begin().catch((error) => notice(`The page cannot start: ${error.message}`));
