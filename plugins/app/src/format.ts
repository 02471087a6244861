// How values look: the same everywhere, and as Airflow's own pages write them.

/** The time zone that the user chose in Airflow; its default is the browser's. */
export const timeZone = (): string => {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  try {
    return globalThis.localStorage?.getItem("timezone")?.replaceAll('"', "") || own;
  } catch {
    return own; // no storage for this page
  }
};

/** `2026-11-20 22:23:20`, in the zone given; what is no time stays what it was. */
export const time = (at: string, zone = timeZone()): string => {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) {
    return at;
  }
  const options = { dateStyle: "short", timeStyle: "medium" } as const;
  try {
    return new Intl.DateTimeFormat("sv-SE", { ...options, timeZone: zone }).format(date);
  } catch {
    return new Intl.DateTimeFormat("sv-SE", { ...options, timeZone: "UTC" }).format(date);
  }
};

/** From one time to another: `0.4 s`, `25 s`, `3 min 20 s`, `2 h 5 min`. */
export const duration = (from: string, to: string): string => {
  const seconds = Math.max(0, (new Date(to).getTime() - new Date(from).getTime()) / 1000);
  if (seconds < 10) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

/** `812 B`, `1.4 kB`, `36 MB`. */
export const bytes = (size: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(value < 10 ? 2 : 3))} ${units[unit]}`;
};

/** Four significant digits, and no more zeros than needed. */
export const number = (value: number): string =>
  Number.isInteger(value) ? value.toLocaleString("en-US") : Number(value.toPrecision(4)).toString();

/** `blake3:c4a37cba10ef…` of a digest of 64 digits. */
export const shortDigest = (digest: string): string => {
  const [algorithm, digits] = digest.includes(":") ? digest.split(":", 2) : ["", digest];
  const head = algorithm ? `${algorithm}:` : "";
  return digits && digits.length > 16 ? `${head}${digits.slice(0, 12)}…` : digest;
};

/** `pandas.core.frame.DataFrame` is a `DataFrame`. */
export const shortType = (type: string): string => type.split(".").at(-1) ?? type;

/** Airflow's run ids are long: `manual__2026-11-20T22:22:40.495355+00:00` is `manual 2026-11-20 22:22:40`. */
export const shortRun = (runId: string): string => {
  const [, kind, at] = /^([a-z_]+?)__(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))/.exec(runId) ?? [];
  return kind && at ? `${kind.replaceAll("_", " ")} ${time(at)}` : runId;
};

/** Whether a run was made by `pipeline.run()`, without Airflow. */
export const isLocal = (runId: string): boolean => runId.startsWith("local__");

/** `artifact_store` is an `artifact store`. */
export const words = (name: string): string => name.replaceAll("_", " ");

/** What stands in a cell for any JSON value. */
export const plain = (value: unknown): string => {
  if (value === null || value === undefined || value === "") {
    return "–";
  }
  if (typeof value === "number") {
    return number(value);
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};
