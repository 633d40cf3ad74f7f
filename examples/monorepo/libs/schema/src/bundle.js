// Puts the parts together: node src/bundle.js OUTPUT
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

const part = (name) =>
  JSON.parse(readFileSync(new URL(`${name}.json`, import.meta.url), "utf-8"));

const schema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "A list of quotes",
  type: "array",
  items: { $ref: "#/$defs/quote" },
  $defs: { quote: part("quote"), zone: part("zone") },
};
const [output] = process.argv.slice(2);
mkdirSync(dirname(output), { recursive: true });
writeFileSync(output, JSON.stringify(schema, null, 2) + "\n");
