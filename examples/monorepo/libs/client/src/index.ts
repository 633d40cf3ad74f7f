export interface Quote {
  readonly zone: string;
  readonly grams: number;
  readonly cents: number;
}

export function total(quotes: readonly Quote[]): number {
  return quotes.reduce((sum, { cents }) => sum + cents, 0);
}

export function price(cents: number): string {
  return `€${(cents / 100).toFixed(2)}`;
}
