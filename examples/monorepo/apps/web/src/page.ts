import { price, total, type Quote } from "@parcels/client";

const row = ({ zone, grams, cents }: Quote) =>
  `<tr><td>${zone}</td><td>${grams} g</td><td>${price(cents)}</td></tr>`;

export function page(quotes: readonly Quote[]): string {
  return [
    "<!doctype html>",
    "<title>Quotes</title>",
    "<table>",
    ...quotes.map(row),
    `<tr><th colspan="2">Total</th><th>${price(total(quotes))}</th></tr>`,
    "</table>\n",
  ].join("\n");
}
