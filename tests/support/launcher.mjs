// Starts services of npm `emulate` through its programmatic API, each on a free port of 127.0.0.1.
//
//   node launcher.mjs FOLDER-WITH-node_modules SERVICE...
//
// The first line on stdin is the seed, as JSON. Prints one line of JSON when every service listens:
// {"google":"http://localhost:PORT",...}. Each further line on stdin replays the seed and is answered with {"reset":true}.
// Ends when stdin closes, so that a test run that dies leaves nothing behind.
import { join } from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

const [home, ...services] = process.argv.slice(2);
const api = join(home, 'node_modules', 'emulate', 'dist', 'api.js');
const { createEmulator } = await import(pathToFileURL(api).href);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

const seed = JSON.parse((await lines.next()).value);
const running = await Promise.all(services.map((service) => createEmulator({ service, port: 0, seed })));
say(Object.fromEntries(services.map((service, index) => [service, running[index].url])));

for await (const _ of lines) {
  for (const one of running) one.reset();
  say({ reset: true });
}
process.exit(0);
