// Starts services of npm `emulate` through its programmatic API, each on a free port of 127.0.0.1.
//
//   node launcher.mjs FOLDER-WITH-node_modules SERVICE...
//
// The first line on stdin is the seed, as JSON. Prints one line of JSON when every service listens:
// {"google":"http://localhost:PORT",...}. Okta is told the address that it has in tests, since its id_tokens name it. Each further line on stdin replays the seed and is answered with {"reset":true}.
// Ends when stdin closes, so that a test run that dies leaves nothing behind.
import { createServer } from 'node:net';
import { join } from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

const OWN = { okta: 'https://okta.example.test' };

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((listens) => server.once('listening', listens));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

const [home, ...services] = process.argv.slice(2);
const api = join(home, 'node_modules', 'emulate', 'dist', 'api.js');
const { createEmulator } = await import(pathToFileURL(api).href);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

const seed = JSON.parse((await lines.next()).value);
const running = [];
const urls = {};
for (const service of services) {
  const [baseUrl, port] = OWN[service] ? [OWN[service], await freePort()] : [undefined, 0];
  running.push(await createEmulator({ service, port, seed, baseUrl }));
  urls[service] = baseUrl ? `http://localhost:${port}` : running.at(-1).url;
}
say(urls);

for await (const _ of lines) {
  for (const one of running) one.reset();
  say({ reset: true });
}
process.exit(0);
