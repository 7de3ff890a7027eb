// Takes files, shows the jobs, and fetches exports. What comes from a file's name or an error is text, never HTML.
"use strict";

const PHASES = {
  flow: "seeing what moves", "flow and evidence": "seeing what moves", fit: "learning what it looks like",
  masks: "drawing masks", adaptation: "reading frames to adapt to", export: "writing", objects: "telling objects apart",
};
const POLL_MS = 400;
const find = (selector, node = document) => node.querySelector(selector);
const shown = new Map();  // by the job's id: its list item, its viewer, exports that were asked for
let about;

async function ask(address, options) {
  const answer = await fetch(address, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error || answer.statusText);
  return content;
}

const spoken = (seconds) => seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function describe(job) {
  if (job.state === "failed") return job.error;
  if (job.state === "uploading") return "receiving";
  if (job.state === "queued") return job.ahead ? `waiting, ${job.ahead} ahead of it` : "waiting";
  if (job.state === "done") return `object ${percent(job.row.mean_area)}, confidence ${job.row.confidence.toFixed(2)}`;
  const at = job.progress;
  if (!at) return "starting";
  const words = [PHASES[at.phase] || at.phase], unit = at.phase === "fit" ? "steps" : "frames";
  words.push(`${at.done}${at.total ? ` of ${at.total}` : ""} ${unit}`);
  if (at.rate) words.push(`${at.rate.toFixed(1)} a second`);
  if (at.rate && at.total) words.push(`${spoken((at.total - at.done) / at.rate)} left`);
  return words.join(", ");
}

function item(id, name) {
  if (shown.has(id)) return shown.get(id);
  const node = find("#job").content.firstElementChild.cloneNode(true), entry = { node, viewer: null, wanted: new Set() };
  find(".name", node).textContent = name;
  find(".open", node).onclick = () => entry.viewer ? close(entry) : open(entry);
  find(".remove", node).onclick = async () => { await ask(`/jobs/${id}`, { method: "DELETE" }).catch(() => {}); forget(id); };
  find("#jobs").prepend(node);
  shown.set(id, entry);
  find("#drop").classList.add("small");
  return entry;
}

function forget(id) {
  const entry = shown.get(id);
  if (!entry) return;
  close(entry);
  entry.node.remove();
  shown.delete(id);
  find("#drop").classList.toggle("small", shown.size > 0);
}

function update(job) {
  const entry = item(job.id, job.name), { node } = entry, before = entry.job;
  entry.job = job;
  node.className = `job ${job.state}`;
  find(".status", node).textContent = describe(job);
  const bar = find(".bar", node), at = job.progress;
  bar.hidden = job.state !== "working";
  if (at && at.total) bar.value = at.done / at.total; else bar.removeAttribute("value");
  find(".open", node).disabled = job.state !== "done";
  if (job.state === "done" && before?.state !== "done" && (before || shown.size === 1)) open(entry);
  if (entry.viewer) exports(entry);
}

function open(entry) {
  for (const other of shown.values()) close(other);
  const { job, node } = entry;
  entry.viewer = new Viewer(job, about);
  const { row } = job, box = entry.viewer.node;
  const facts = { frames: row.frames, size: `${row.width} × ${row.height}`, "mean area": percent(row.mean_area),
    confidence: row.confidence.toFixed(2), time: spoken(row.seconds), "frames a second": row.fps.toFixed(1) };
  for (const [name, value] of Object.entries(facts)) {
    const pair = find(".facts", box).appendChild(document.createElement("div"));
    pair.appendChild(document.createElement("dt")).textContent = name;
    pair.appendChild(document.createElement("dd")).textContent = value;
  }
  for (const warning of row.warnings) find(".warnings", box).appendChild(document.createElement("li")).textContent = warning;
  for (const [kind, summary] of Object.entries(about.exports)) {
    const button = find(".kinds", box).appendChild(document.createElement("button"));
    button.type = "button";
    button.appendChild(document.createElement("b")).textContent = kind;
    button.appendChild(document.createElement("span")).textContent = summary;
    button.dataset.kind = kind;
    button.onclick = () => download(entry, kind);
  }
  node.append(box);
  find(".open", node).setAttribute("aria-expanded", true);
  exports(entry);
}

function close(entry) {
  entry.viewer?.close();
  entry.viewer = null;
  find(".open", entry.node).setAttribute("aria-expanded", false);
}

async function download(entry, kind) {
  const query = new URLSearchParams({ kind, threshold: entry.viewer.threshold });
  try {
    entry.wanted.add(await ask(`/jobs/${entry.job.id}/exports?${query}`, { method: "POST" }));
  } catch (error) { complain(entry, error.message); }
  poll();
}

// Fetch what was asked for and is there; show what is on its way.
function exports(entry) {
  for (const key of entry.wanted) {
    const made = entry.job.exports[key];
    if (made?.state === "failed") complain(entry, made.error);
    if (made?.state === "done") {
      const link = document.createElement("a");
      link.href = `/jobs/${entry.job.id}/exports/${encodeURIComponent(key)}`;
      link.download = "";
      link.click();
    }
    if (made && ["done", "failed"].includes(made.state)) entry.wanted.delete(key);
  }
  const busy = new Set([...entry.wanted].map((key) => key.split("@")[0]));
  for (const button of entry.viewer.node.querySelectorAll("[data-kind]"))
    button.setAttribute("aria-busy", busy.has(button.dataset.kind));
}

function complain(entry, text) {
  find(".problem", entry.viewer.node)?.remove();
  const line = find(".downloads", entry.viewer.node).appendChild(document.createElement("p"));
  Object.assign(line, { className: "problem", role: "alert", textContent: text });
}

// A file goes up with its progress, which fetch does not tell.
function send(file) {
  const entry = item(`sent-${file.name}-${performance.now()}`, file.name), id = [...shown].at(-1)[0];
  const status = find(".status", entry.node), bar = find(".bar", entry.node), request = new XMLHttpRequest();
  const fail = (text) => { entry.node.className = "job failed"; bar.hidden = true; status.textContent = text; };
  bar.hidden = false;
  status.textContent = "sending";
  find(".open", entry.node).disabled = true;
  find(".remove", entry.node).onclick = () => { request.abort(); forget(id); };
  request.upload.onprogress = (event) => {
    bar.value = event.loaded / event.total;
    status.textContent = `sending, ${percent(bar.value)}`;
  };
  request.onerror = () => fail("not sent: the page has ended, or it refused the file");
  request.onload = () => {
    const answer = JSON.parse(request.responseText || "{}");
    if (request.status !== 200) return fail(answer.error || "not taken");
    forget(id);
    poll();
  };
  if (file.size > about.limits.bytes) return fail(`${file.name}: ${file.size} bytes; inbox.max_bytes is ${about.limits.bytes}`);
  request.open("POST", `/jobs?name=${encodeURIComponent(file.name)}`);
  request.send(file);
}

async function poll() {
  try {
    const jobs = (await ask("/jobs")).filter((job) => job.state !== "uploading");
    for (const job of jobs) update(job);
    for (const id of [...shown.keys()]) if (!id.startsWith("sent-") && !jobs.some((job) => job.id === id)) forget(id);
    find("#lost").hidden = true;
  } catch { find("#lost").hidden = false; }
}

async function start() {
  about = await ask("/about");
  const { bytes, minutes, pixels } = about.limits;
  if (about.images) find("#drop b").textContent = "Drop a video or an image";
  find("#limits").textContent = `up to ${(bytes / 1e9).toFixed(1)} GB, ${minutes} minutes, ${(pixels / 1e6).toFixed(1)} megapixels`;
  const drop = find("#drop"), take = (files) => { for (const file of files) send(file); };
  find("#file").onchange = (event) => { take(event.target.files); event.target.value = ""; };
  for (const name of ["dragover", "drop", "dragleave"]) document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files);
  });
  await poll();
  setInterval(poll, POLL_MS);
}
start();
