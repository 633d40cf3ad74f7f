export interface Count {
  readonly word: string;
  readonly times: number;
}

export function bars(counts: readonly Count[], width = 20): string[] {
  const most = Math.max(1, ...counts.map(({ times }) => times));
  return counts.map(({ word, times }) => `${word} ${"#".repeat((times / most) * width)}`);
}
