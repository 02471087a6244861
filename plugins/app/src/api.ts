// What the API below /windsock/api answers, and how to ask it.
import { useEffect, useState } from "react";

export type Component = { kind: string; flavor: string | null; options: Record<string, unknown> };
export type Problem = { error: string; detail: string; hint: string | null };
export type Stack = { name: string; active: boolean; components: Component[]; problem: Problem | null };
export type Stacks = { active: string; stacks: Stack[] };
export type Check = { kind: string; flavor: string; ok: boolean; detail: string; hint: string | null; seconds: number };

export type Model = {
  name: string;
  description: string | null;
  latest_version: number | null;
  aliases: Record<string, number>;
  created_at: string;
};
export type ModelVersion = {
  model: string;
  version: number;
  state: string;
  metrics: Record<string, number>;
  parameters: Record<string, unknown>;
  created_at: string;
  created_by: string | null;
  description: string | null;
  tags: Record<string, unknown>;
  artifact: { artifact: string; version: number; digest: string; type: string };
};
export type Why = {
  version: number;
  since: string;
  actor: string;
  reason: string | null;
  previous: number | null;
  gates: Gate[];
  made_in: { dag_id: string; run_id: string; pipeline: string | null; pipeline_version: number | null; started_at: string } | null;
  data: { artifact: string; version: number; digest: string }[];
};
export type Gate = { passed: boolean; detail: string };
export type AliasEvent = {
  id: number;
  alias: string;
  from_version: number | null;
  to_version: number | null;
  actor: string;
  reason: string | null;
  gates: Gate[];
  at: string;
};
export type Deployment = {
  name: string;
  model: string;
  version: number;
  previous_version: number | null;
  phase: string;
  url: string | null;
  flavor: string;
  stack: string | null;
  updated_at: string;
};
export type DeploymentEvent = {
  id: number;
  action: string;
  from_version: number | null;
  to_version: number | null;
  actor: string;
  reason: string | null;
  at: string;
};
export type Feature = { status: string; reason: string | null; score: number | null };
export type DriftReport = {
  id: number;
  model: string;
  version: number;
  deployment: string | null;
  window_start: string | null;
  window_end: string | null;
  rows: number;
  drifted: boolean;
  drift_share: number;
  features: Record<string, Feature>;
  reasons: string[];
  report_uri: string | null;
  created_at: string;
};
export type Run = {
  id: string;
  dag_id: string;
  run_id: string;
  pipeline: string | null;
  pipeline_version: number | null;
  stack: string | null;
  state: string;
  reason: Record<string, unknown> | null;
  started_at: string;
  ended_at: string | null;
};
export type StepRun = {
  id: string;
  step: string;
  task_id: string;
  map_index: number;
  try_number: number;
  state: string;
  metrics: Record<string, number>;
  error: string | null;
  started_at: string;
  ended_at: string | null;
};
export type Page<T> = { items: T[]; next: string | null };

export type LineageNode = {
  id: string;
  kind: "artifact" | "step_run" | "run" | "model" | "deployment";
  label: string;
  facts: Record<string, unknown>;
};
export type LineageEdge = { source: string; target: string; label: string };
export type LineageGraph = { nodes: LineageNode[]; edges: LineageEdge[]; truncated: boolean };

export class ApiError extends Error {
  readonly status: number;
  readonly hint: string | null;

  constructor(status: number, detail: string, hint: string | null) {
    super(detail);
    this.status = status;
    this.hint = hint;
  }
}

// Relative to the document's base, because Airflow may be served below a path of its own.
export const apiUrl = (path: string): string => new URL(`windsock/api/${path}`, document.baseURI).toString();

const SAID: Record<number, string> = {
  401: "You are not logged in any more. Load the page again.",
  403: "You may not see this. Ask an administrator of this Airflow for the right to read assets and DAGs.",
};

const ask = async (method: "GET" | "POST", path: string, signal?: AbortSignal): Promise<string> => {
  const response = await fetch(apiUrl(path), { method, credentials: "same-origin", ...(signal ? { signal } : {}) });
  const text = await response.text();
  if (response.ok) {
    return text;
  }
  let body: Partial<Problem> = {};
  try {
    body = JSON.parse(text) as Partial<Problem>;
  } catch {
    // an answer of something between here and Windsock
  }
  const detail = typeof body.detail === "string" ? body.detail : `The server answered ${response.status}.`;
  throw new ApiError(response.status, SAID[response.status] ?? detail, body.hint ?? null);
};

export const post = async <T>(path: string): Promise<T> => JSON.parse(await ask("POST", path)) as T;

export type Loading<T> = { data?: T; error?: Error; loading: boolean; retry: () => void };

/** Load once, and again every `every` milliseconds while the page is visible; a null path loads nothing. */
export const useApi = <T>(path: string | null, every?: number): Loading<T> => {
  const [state, setState] = useState<{ data?: T; error?: Error; loading: boolean }>({ loading: path !== null });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (path === null) {
      setState({ loading: false });
      return undefined;
    }
    const abort = new AbortController();
    let last: string | null = null;
    const load = async () => {
      try {
        const text = await ask("GET", path, abort.signal);
        // The same answer again is the same value, so that nothing is drawn anew.
        const same = text === last;
        last = text;
        setState((before) => (same && !before.error ? before : { data: JSON.parse(text) as T, loading: false }));
      } catch (error) {
        if (!abort.signal.aborted) {
          setState((before) => ({ ...before, error: error as Error, loading: false }));
        }
      }
    };
    setState({ loading: true });
    void load();
    const timer = every ? setInterval(() => document.hidden || void load(), every) : undefined;
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [path, every, attempt]);
  return { ...state, retry: () => setAttempt((before) => before + 1) };
};

/** All pages' items so far, and a function that fetches the next page. */
export const usePages = <T>(path: string): Loading<T[]> & { more?: () => void } => {
  const [state, setState] = useState<{ items?: T[]; next: string | null; error?: Error; loading: boolean }>({
    next: null,
    loading: true,
  });
  const [attempt, setAttempt] = useState(0);
  const load = (before: string | null, signal?: AbortSignal) => {
    const query = before === null ? "" : `${path.includes("?") ? "&" : "?"}before=${encodeURIComponent(before)}`;
    setState(({ error: _, ...known }) => ({ ...(before === null ? { next: null } : known), loading: true }));
    ask("GET", path + query, signal).then(
      (text) => {
        const page = JSON.parse(text) as Page<T>;
        setState((known) => ({ items: [...(known.items ?? []), ...page.items], next: page.next, loading: false }));
      },
      (error: Error) => signal?.aborted || setState((known) => ({ ...known, error, loading: false })),
    );
  };
  useEffect(() => {
    const abort = new AbortController();
    load(null, abort.signal);
    return () => abort.abort();
  }, [path, attempt]);
  const { items, next, error, loading } = state;
  return {
    loading,
    retry: () => setAttempt((before) => before + 1),
    ...(items ? { data: items } : {}),
    ...(error ? { error } : {}),
    ...(next === null ? {} : { more: () => load(next) }),
  };
};
