import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

// What an image layer installed is found by `require` alone: `import` does not look at NODE_PATH.
const { default: Ajv } = createRequire(import.meta.url)("ajv");
const valid = new Ajv().compile(
  JSON.parse(readFileSync("dist/quotes.schema.json", "utf-8")),
);
const good = { zone: "city", grams: 1200, cents: 590 };

test("quotes are valid", () => {
  assert.ok(valid([good, { ...good, zone: "abroad" }]));
});

for (const wrong of [{ zone: "moon" }, { grams: 0 }, { cents: 1.5 }, { a: 1 }])
  test(`${JSON.stringify(wrong)} is not`, () => {
    assert.ok(!valid([{ ...good, ...wrong }]));
  });
