import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes, duration, number, plain, shortDigest, shortRun, shortType, time } from "./format.ts";

test("times are written as Airflow writes them, in the zone that the user chose", () => {
  assert.equal(time("2026-11-20T22:23:20.5Z", "UTC"), "2026-11-20 22:23:20");
  assert.equal(time("2026-11-20T22:23:20Z", "Asia/Tokyo"), "2026-11-21 07:23:20");
  assert.equal(time("2026-11-20T22:23:20Z", "no/zone"), "2026-11-20 22:23:20");
  assert.equal(time("yesterday", "UTC"), "yesterday");
});

test("durations", () => {
  const after = (seconds: number) => duration("2026-01-01T00:00:00Z", new Date(1767225600000 + seconds * 1000).toISOString());
  assert.deepEqual([0.44, 25, 59.7, 200, 7500].map(after), ["0.4 s", "25 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]);
});

test("sizes", () => {
  assert.deepEqual([0, 812, 1400, 180_752, 36_000_000].map(bytes), ["0 B", "812 B", "1.4 kB", "181 kB", "36 MB"]);
});

test("numbers keep four digits", () => {
  assert.deepEqual([0.9148936170212766, 1e-7, 400, 1_234_567].map(number), ["0.9149", "1e-7", "400", "1,234,567"]);
});

test("a digest is told by its first digits", () => {
  assert.equal(shortDigest(`blake3:${"c4a37cba10ef9e".repeat(4)}`), "blake3:c4a37cba10ef…");
  assert.equal(shortDigest("abc"), "abc");
});

test("names of runs and types", () => {
  assert.equal(shortRun("manual__2026-11-20T22:22:40.495355+00:00"), "manual 2026-11-20 22:22:40");
  assert.equal(shortRun("asset_triggered__2026-11-20T22:22:40+00:00_x7"), "asset triggered 2026-11-20 22:22:40");
  assert.equal(shortRun("my own run"), "my own run");
  assert.equal(shortType("sklearn.ensemble.RandomForestClassifier"), "RandomForestClassifier");
});

test("any value has a text", () => {
  assert.deepEqual([null, "", 0.5, false, { a: 1 }].map(plain), ["–", "–", "0.5", "false", '{"a":1}']);
});
