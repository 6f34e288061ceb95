// The player: frames of every method in step, drawn on canvases, so that each is on screen at the same instant.
(() => {
  "use strict";
  const data = document.getElementById("clips");
  if (!data) return;
  const clips = JSON.parse(data.textContent);
  const get = (id) => document.getElementById(id);
  const [stage, slider, time, play, left, right, error] = ["wipe", "slider", "time", "play", "left", "right", "error"].map(get);
  const FRAMES_A_SECOND = 12;
  const state = { clip: 0, at: 0, split: 0.5, left: 0, right: 0, playing: false, last: 0, ready: false };
  let lanes = [];

  const address = (code) => "data:image/webp;base64," + code;
  const picture = (code) => {
    const image = new Image();
    if (code) image.src = address(code);
    return image;
  };

  // Pictures elsewhere on the page are frames of the player: "clip lane frame" says which.
  for (const kind of ["frames", "errors"]) {
    for (const image of document.querySelectorAll(`img[data-${kind}]`)) {
      const [clip, lane, at] = image.dataset[kind].split(" ");
      image.src = address(clips[clip].lanes[lane][kind][at]);
    }
  }

  async function open(index) {
    const clip = clips[index];
    Object.assign(state, { clip: index, at: 0, ready: false });
    const known = clip.lanes.length;
    state.left = Math.min(state.left, known - 1);
    state.right = Math.min(state.right || 1, known - 1);
    [...get("videos").children].forEach((tab, i) => tab.setAttribute("aria-pressed", String(i === index)));
    const mine = clip.lanes.map((lane) => ({ name: lane.name, frames: lane.frames.map(picture), errors: lane.errors.map(picture) }));
    lanes = mine;
    time.max = clip.numbers.length - 1;
    for (const select of [left, right]) {
      select.replaceChildren(...lanes.map((lane, i) => new Option(lane.name, i)));
    }
    get("lanes").replaceChildren(...lanes.map((lane, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "show on the right";
      const name = document.createElement("span");
      name.textContent = lane.name;
      button.append(document.createElement("canvas"), name);
      button.addEventListener("click", () => { state.right = i; draw(); });
      return button;
    }));
    const all = mine.flatMap((lane) => [...lane.frames, ...lane.errors]).filter((image) => image.src);
    await Promise.allSettled(all.map((image) => image.decode()));
    if (lanes !== mine) return;
    state.ready = true;
    const first = mine.flatMap((lane) => lane.frames).find((image) => image.naturalWidth);
    const width = first ? first.naturalWidth : 16, height = first ? first.naturalHeight : 9;
    for (const canvas of [stage, ...get("lanes").querySelectorAll("canvas")]) Object.assign(canvas, { width, height });
    draw();
  }

  // A frame on a canvas; with the error on, the picture steps back and the error shines through.
  function paint(canvas, lane, from, to) {
    const context = canvas.getContext("2d");
    const frame = lane.frames[state.at], map = lane.errors[state.at];
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, canvas.height);
    context.clip();
    context.fillStyle = "#222";
    context.fillRect(from, 0, to - from, canvas.height);
    if (frame && frame.naturalWidth) {
      if (error.checked) context.globalAlpha = 0.3;
      context.drawImage(frame, 0, 0, canvas.width, canvas.height);
      context.globalAlpha = 1;
      if (error.checked && map && map.naturalWidth) {
        context.globalCompositeOperation = "screen";
        context.drawImage(map, 0, 0, canvas.width, canvas.height);
      }
    } else {
      context.fillStyle = "#bbb";
      context.font = `${Math.max(11, canvas.height / 16)}px sans-serif`;
      context.fillText("no picture of this frame", from + 8, canvas.height / 2);
    }
    context.restore();
  }

  function draw() {
    const clip = clips[state.clip];
    const at = Math.round(state.split * stage.width);
    paint(stage, lanes[state.left], 0, at);
    paint(stage, lanes[state.right], at, stage.width);
    const context = stage.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(at - 1, 0, 2, stage.height);
    get("lanes").querySelectorAll("canvas").forEach((canvas, i) => paint(canvas, lanes[i], 0, canvas.width));
    get("tag-left").textContent = lanes[state.left].name;
    get("tag-right").textContent = lanes[state.right].name;
    left.value = state.left;
    right.value = state.right;
    time.value = state.at;
    slider.value = Math.round(1000 * state.split);
    play.textContent = state.playing ? "Pause" : "Play";
    get("frame").textContent = `${state.at + 1} / ${clip.numbers.length}`;
    for (const line of document.querySelectorAll(".cursor")) {
      const here = line.dataset.video === clip.video;
      line.style.display = here ? "" : "none";
      const x = Number(line.dataset.zero) + Number(line.dataset.step) * clip.numbers[state.at];
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  }

  const length = () => clips[state.clip].numbers.length;
  const step = (by) => { state.playing = false; state.at = (state.at + by + length()) % length(); draw(); };
  const wipe = (to) => { state.split = Math.min(1, Math.max(0, to)); draw(); };
  const toggle = () => { state.playing = !state.playing; if (state.playing) requestAnimationFrame(tick); draw(); };

  function tick(now) {
    if (!state.playing) return;
    if (state.ready && now - state.last >= 1000 / FRAMES_A_SECOND) {
      state.last = now;
      state.at = (state.at + 1) % length();
      draw();
    }
    requestAnimationFrame(tick);
  }

  const keys = {
    " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    "[": () => wipe(state.split - 0.05), "]": () => wipe(state.split + 0.05),
    e: () => { error.checked = !error.checked; draw(); }, v: () => open((state.clip + 1) % clips.length),
    Home: () => step(-state.at), End: () => step(length() - 1 - state.at),
  };
  document.addEventListener("keydown", (event) => {
    const place = event.target;
    const own = place instanceof HTMLSelectElement || (place instanceof HTMLInputElement && event.key !== "e" && event.key !== "v")
      || (place instanceof HTMLElement && place.closest("summary, button") && event.key === " ");
    if (own || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    // Elsewhere on the page, space and arrows scroll as they always do.
    if (!get("player").contains(place) && place !== document.body) return;
    event.preventDefault();
    keys[event.key]();
  });

  clips.forEach((clip, i) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.textContent = tab.title = clip.video;
    tab.addEventListener("click", () => open(i));
    get("videos").append(tab);
  });
  play.addEventListener("click", toggle);
  get("back").addEventListener("click", () => step(-1));
  get("forward").addEventListener("click", () => step(1));
  time.addEventListener("input", () => { state.playing = false; state.at = Number(time.value); draw(); });
  slider.addEventListener("input", () => wipe(Number(slider.value) / 1000));
  left.addEventListener("change", () => { state.left = Number(left.value); draw(); });
  right.addEventListener("change", () => { state.right = Number(right.value); draw(); });
  error.addEventListener("change", draw);
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    wipe((event.clientX - box.left) / box.width);
  };
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  open(0);
})();
