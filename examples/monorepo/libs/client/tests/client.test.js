import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { price, total } from "../dist/index.js";

const { default: Ajv } = createRequire(import.meta.url)("ajv");
const quotes = [
  { zone: "city", grams: 1200, cents: 590 },
  { zone: "abroad", grams: 300, cents: 1410 },
];

test("what the tests count is what the schema says", () => {
  const schema = "../schema/dist/quotes.schema.json";
  const valid = new Ajv().compile(JSON.parse(readFileSync(schema, "utf-8")));
  assert.ok(valid(quotes), JSON.stringify(valid.errors));
});

test("a total", () => assert.equal(total(quotes), 2000));
test("a total of nothing", () => assert.equal(total([]), 0));
test("a price", () => assert.equal(price(5), "€0.05"));
