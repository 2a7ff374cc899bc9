// Looks at everything the page is made of, and writes what it found into it; `data-done` says that this is all.

const found = {};

function tell(name, value) {
  found[name] = value;
  const [term, description] = [document.createElement("dt"), document.createElement("dd")];
  [term.textContent, description.textContent] = [name, value];
  document.getElementById("found").append(term, description);
}

async function image(id) {
  const element = document.getElementById(id);
  await element.decode();
  return `${element.naturalWidth} × ${element.naturalHeight}`;
}

function echo(text) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
    socket.onopen = () => socket.send(text);
    socket.onerror = () => reject(new Error("the WebSocket failed"));
    socket.onmessage = (message) => {
      socket.close();
      resolve(message.data);
    };
  });
}

function events() {
  return new Promise((resolve, reject) => {
    const [source, all] = [new EventSource("events"), []];
    source.onmessage = (event) => all.push(event.data);
    source.onerror = () => reject(new Error("the events failed"));
    source.addEventListener("end", () => {
      source.close();
      resolve(all.join(", "));
    });
  });
}

async function main() {
  tell("page", `${location.protocol} ${performance.getEntriesByType("navigation")[0].nextHopProtocol}`);
  tell("style", getComputedStyle(document.querySelector("h1")).color);
  tell("images", [await image("svg"), await image("png")].join(", "));
  const data = await (await fetch("data.json")).json();
  tell("dyno sees", `${data.proto} on port ${data.port}`);
  tell("WebSocket", await echo("there and back"));
  tell("events", await events());
}

main().catch((error) => tell("error", error.message)).finally(() => {
  document.documentElement.dataset.done = JSON.stringify(found);
});
