import assert from "node:assert/strict";
import { test } from "node:test";
import { page } from "../dist/page.js";

test("a page has a row for each quote, and the total", () => {
  const quotes = [
    { zone: "city", grams: 800, cents: 470 },
    { zone: "abroad", grams: 12000, cents: 2730 },
  ];
  const html = page(quotes);
  assert.match(html, /<td>city<\/td><td>800 g<\/td><td>€4\.70<\/td>/);
  assert.match(html, /<th>€32\.00<\/th>/);
});
