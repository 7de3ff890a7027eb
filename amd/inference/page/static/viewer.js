// Plays a job's preview: the frame above and the probability below in one video, drawn as frame and as overlay at any
// threshold, on two canvases that are always of the same moment.
"use strict";

class Viewer {
  constructor(job, about) {
    this.about = about;
    this.view = "overlay";
    this.threshold = about.threshold.own;
    this.node = document.getElementById("viewer").content.firstElementChild.cloneNode(true);
    this.plain = this.find(".plain").getContext("2d");
    this.masked = this.find(".masked").getContext("2d");
    this.read = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    this.open(job);
    this.connect();
  }

  find(selector) { return this.node.querySelector(selector); }

  open(job) {
    const address = `/jobs/${job.id}/preview`, still = job.row.is_image;
    this.source = still ? new Image() : document.createElement("video");
    this.find(".player").hidden = still;
    if (still) {
      this.source.onload = () => this.size(this.source.naturalWidth, this.source.naturalHeight);
    } else {
      Object.assign(this.source, { muted: true, loop: true, playsInline: true, preload: "auto" });
      this.source.onloadeddata = () => this.size(this.source.videoWidth, this.source.videoHeight);
      for (const event of ["seeked", "pause", "play"]) this.source.addEventListener(event, () => this.draw());
      this.follow();
    }
    this.source.src = address;
    if (!still && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.source.play().catch(() => {});
  }

  // Draw every frame that the browser shows.
  follow() {
    const next = () => { this.draw(); this.source.requestVideoFrameCallback(next); };
    if (this.source.requestVideoFrameCallback) this.source.requestVideoFrameCallback(next);
    else this.source.addEventListener("timeupdate", () => this.draw());
  }

  close() {
    this.source.removeAttribute("src");
    this.source.load?.();
    this.node.remove();
  }

  size(width, height) {
    this.width = width;
    this.height = height / 2;
    for (const each of [this.plain, this.masked]) Object.assign(each.canvas, { width, height: this.height });
    Object.assign(this.read.canvas, { width, height });
    this.draw();
  }

  connect() {
    for (const button of this.node.querySelectorAll("[data-view]")) button.onclick = () => {
      this.view = button.dataset.view;
      for (const other of this.node.querySelectorAll("[data-view]")) other.setAttribute("aria-pressed", other === button);
      this.draw();
    };
    const slider = this.find(".threshold input"), { least, most, own } = this.about.threshold;
    Object.assign(slider, { min: least, max: most });
    const choose = (value) => { slider.value = value; this.threshold = Number(slider.value); this.draw(); };
    slider.oninput = () => choose(slider.value);
    this.find(".own").onclick = () => choose(own);
    choose(own);
    this.find(".play").onclick = () => this.source.paused ? this.source.play() : this.source.pause();
    this.find(".time").oninput = (event) => { this.source.pause(); this.source.currentTime = event.target.value * this.source.duration; };
  }

  draw() {
    this.find(".threshold output").textContent = this.threshold.toFixed(2);
    this.find(".own").disabled = this.threshold === this.about.threshold.own;
    if (!this.width) return;
    this.clock();
    this.read.drawImage(this.source, 0, 0);
    const image = this.read.getImageData(0, 0, this.width, this.height);
    const soft = this.read.getImageData(0, this.height, this.width, this.height).data;
    this.plain.putImageData(image, 0, 0);
    const inside = new Uint8Array(this.width * this.height), level = this.threshold * 255;
    let area = 0;
    for (let i = 0; i < inside.length; i++) area += inside[i] = soft[4 * i] > level ? 1 : 0;
    this[this.view](image.data, inside);
    this.masked.putImageData(image, 0, 0);
    this.masked.canvas.classList.toggle("cutout", this.view === "cutout");
    this.find(".share").textContent = `object ${(100 * area / inside.length).toFixed(1)} % of this frame`;
  }

  overlay(pixels, inside) {
    const { colour, opacity, outline } = this.about.overlay, width = this.width;
    const reach = Math.max(1, Math.round(Math.min(width, this.height) / outline));
    const edge = (i) => {
      const x = i % width;
      for (let step = 1; step <= reach; step++)
        if (!(x < step || inside[i - step]) || !(x + step >= width || inside[i + step]) ||
            inside[i - step * width] === 0 || inside[i + step * width] === 0) return true;
      return false;
    };
    for (let i = 0; i < inside.length; i++) if (inside[i]) {
      const share = edge(i) ? 1 : opacity;
      for (let c = 0; c < 3; c++) pixels[4 * i + c] = (1 - share) * pixels[4 * i + c] + share * colour[c];
    }
  }

  cutout(pixels, inside) {
    for (let i = 0; i < inside.length; i++) pixels[4 * i + 3] = 255 * inside[i];
  }

  mask(pixels, inside) {
    for (let i = 0; i < inside.length; i++) pixels.fill(255 * inside[i], 4 * i, 4 * i + 3);
  }

  clock() {
    const { currentTime: now, duration, paused } = this.source;
    if (!duration) return;
    this.find(".time").value = now / duration;
    this.find(".clock").textContent = `${now.toFixed(2)} / ${duration.toFixed(2)} s`;
    this.find(".play path").setAttribute("d", paused ? "M8 5v14l11-7z" : "M7 5h4v14H7zM13 5h4v14h-4z");
  }
}
