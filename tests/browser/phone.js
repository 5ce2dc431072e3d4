// A phone of JsSIP that says what happens to it. Everything that is waited for has its time.
"use strict";

const JsSIP = load("jssip");
const SECONDS = 75;
const seen = [];                // names of what has happened, in order
const descriptions = [];        // session descriptions, with who wrote them
let waiting = [];
let agent, session;

function happened(name, detail) {
  seen.push(detail === undefined ? name : `${name} ${detail}`);
  waiting.forEach((look) => look());
}

// Until something has happened `count` times: its last line.
function until(name, count = 1) {
  return new Promise((done, failed) => {
    const late = setTimeout(() => failed(new Error(`no ${name} (${count}): ${seen.join(", ")}`)), 1000 * SECONDS);
    const look = () => {
      const found = seen.filter((one) => one === name || one.startsWith(`${name} `));
      if (found.length < count) return;
      clearTimeout(late);
      waiting = waiting.filter((one) => one !== look);
      done(found[count - 1]);
    };
    waiting.push(look);
    look();
  });
}

function start(address, uri, more = {}) {
  agent = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(address)], uri, session_timers: false, ...more });
  agent.on("connected", () => happened("connected"));
  agent.on("disconnected", () => happened("disconnected"));
  agent.on("registered", () => happened("registered"));
  agent.on("unregistered", () => happened("unregistered"));
  agent.on("registrationFailed", (event) => happened("registration failed", event.cause));
  agent.on("newRTCSession", (event) => watch(event.session, event.originator));
  agent.on("newMessage", (event) => happened(`message ${event.originator}`, event.request.body));
  agent.start();
}

function watch(one, originator) {
  session = one;
  happened("session", originator);
  // The response's own Warning says why; JsSIP has only a class of causes for it.
  one.on("failed", (event) => happened("failed", event.message && event.message.status_code
    ? `${event.message.status_code} ${event.message.getHeader("Warning") || ""}`.trim() : event.cause));
  one.on("ended", (event) => happened("ended", event.originator));
  one.on("progress", () => happened("progress"));
  one.on("accepted", () => happened("accepted"));
  one.on("confirmed", () => happened("confirmed"));
  one.on("hold", (event) => happened("hold", event.originator));
  one.on("unhold", (event) => happened("unhold", event.originator));
  one.on("sdp", (event) => descriptions.push([event.originator, event.type, event.sdp]));
  const hear = (connection) => connection.addEventListener("track", (event) => {
    document.getElementById("speaker").srcObject = event.streams[0];
  });
  if (one.connection) hear(one.connection);
  else one.on("peerconnection", (event) => hear(event.peerconnection));
}

const options = { mediaConstraints: { audio: true, video: false } };

function dial(target) {
  agent.call(target, options);
}

function answer() {
  session.answer(options);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Put the call on hold or take it up again, once no other offer is under way; until it is agreed on.
async function hold(on) {
  const end = performance.now() + 1000 * SECONDS;
  while (performance.now() < end) {
    const agreed = new Promise((done) => { if (!session[on ? "hold" : "unhold"]({}, done)) done(false); });
    if (await agreed !== false) return;
    await pause(20);
  }
  throw new Error(`no hold ${on}: ${seen.join(", ")}`);
}

// What the far end's audio is like once there is some: audio and keys agreed on by DTLS, between which addresses.
async function heard() {
  const end = performance.now() + 1000 * SECONDS;
  let found;
  while (performance.now() < end) {
    found = { packets: 0, energy: 0 };
    const stats = await session.connection.getStats();
    stats.forEach((one) => {
      if (one.type === "inbound-rtp") [found.packets, found.energy] = [one.packetsReceived, one.totalAudioEnergy];
      if (one.type === "transport" && one.selectedCandidatePairId) {
        const pair = stats.get(one.selectedCandidatePairId);
        [found.dtls, found.local, found.remote] = [
          one.dtlsState, stats.get(pair.localCandidateId).port, stats.get(pair.remoteCandidateId).port];
      }
    });
    if (found.packets >= 25 && found.energy > 0) return found;
    await pause(50);
  }
  throw new Error(`no audio: ${JSON.stringify(found)}; ${seen.join(", ")}`);
}
