// The socket: asks for states, reads frames, and comes back by itself when the server was away.

const kinds = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array };
const waits = [300, 700, 1500, 3000, 5000]; // milliseconds between two tries

// A frame of frames.py: the length of a header, the header, and behind it the arrays that it names.
export function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const begin = Math.ceil((4 + length) / 8) * 8;
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  const found = (value) => {
    if (value === null || typeof value !== "object") return value;
    if (!("$" in value)) {
      for (const key of Object.keys(value)) value[key] = found(value[key]);
      return value;
    }
    const [kind, shape, offset] = value.$;
    const array = new kinds[kind](buffer, begin + offset, shape.reduce((product, n) => product * n, 1));
    array.shape = shape;
    return array;
  };
  return found(JSON.parse(text));
}

// `received(message)` is given every message; `stood(how)` is told "open", "lost" or "refused".
export function connect(received, stood) {
  let socket = null;
  let tries = 0;
  let number = 0;
  let latest = null;

  function open() {
    socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws").replace(/[?#].*/, "")));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      tries = 0;
      stood("open");
      if (latest !== null) socket.send(latest);
    };
    socket.onmessage = (event) => received(unpacked(event.data));
    socket.onclose = retry;
  }

  async function retry() {
    // A handshake that fails does not say why; the same server's page does.
    const answer = await fetch("./", { method: "HEAD" }).catch(() => null);
    stood(answer === null || answer.ok ? "lost" : "refused");
    setTimeout(open, waits[Math.min(tries, waits.length - 1)]);
    tries += 1;
  }

  open();
  return {
    // The number of the request, which the messages that answer it carry.
    ask(state) {
      number += 1;
      latest = JSON.stringify({ id: number, ...state });
      if (socket.readyState === WebSocket.OPEN) socket.send(latest);
      return number;
    },
  };
}

// The number by which the server knows a table from now on; an error with what is wrong with it.
export async function sendTable(file) {
  const answer = await fetch("table", {
    method: "POST",
    body: file,
    headers: { "Content-Type": "application/octet-stream", "X-File-Name": encodeURIComponent(file.name) },
  }).catch(() => null);
  if (answer === null) throw new Error("The table did not arrive: the server went away, or refused it unread.");
  const said = await answer.json().catch(() => ({ problem: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(said.problem);
  return said.table;
}
