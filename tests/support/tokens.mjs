// Lines of JSON strings in, lines of o200k token counts out: node tokens.mjs FOLDER-OF-GPT-TOKENIZER
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const { countTokens } = await import(pathToFileURL(join(process.argv[2], "esm/encoding/o200k_base.js")));
for await (const line of createInterface({ input: process.stdin })) console.log(countTokens(JSON.parse(line)));
