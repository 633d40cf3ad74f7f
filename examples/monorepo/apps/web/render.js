// node render.js QUOTES > PAGE
import { readFileSync } from "node:fs";
import { page } from "./dist/page.js";

const [quotes] = process.argv.slice(2);
process.stdout.write(page(JSON.parse(readFileSync(quotes, "utf-8"))));
