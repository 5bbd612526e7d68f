/** What is counted: 1 to 1 024 bytes of text without NUL, or parts of it. */
export type Key = string | readonly string[];

/**
 * The text that is counted. Parts are joined as every client of Weir joins them: `["user", "u1"]` is `user:u1`, and a `:`
 * or `\` inside of a part gets a `\` before it, so that no two lists of one length share a counter.
 */
export function joined(key: Key): string {
  if (typeof key === "string") return key;
  return key.map((part) => part.replace(/[:\\]/g, "\\$&")).join(":");
}
