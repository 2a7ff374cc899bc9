// What a newcomer writes first: a web dyno in Node. POST is answered with what was sent.
const http = require("http");

const server = http.createServer((request, response) => {
  if (request.method === "POST") return request.pipe(response);
  response.end(`Hello from ${process.env.DYNO} on node\n`);
});
server.listen(process.env.PORT, () => console.log(`listening on ${process.env.PORT}`));
process.on("SIGTERM", () => server.close(() => console.log("closed")));
