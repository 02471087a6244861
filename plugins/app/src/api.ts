// What the API below /windsock/api answers, and how to ask it.
import { useEffect, useState } from "react";

export type Component = { kind: string; flavor: string | null; options: Record<string, unknown> };
export type Stack = { name: string; active: boolean; components: Component[] };
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
  artifact: { artifact: string; version: number; digest: string };
};
export type AliasEvent = {
  id: number;
  alias: string;
  from_version: number | null;
  to_version: number | null;
  actor: string;
  reason: string | null;
  gates: { passed: boolean; detail: string }[];
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
export type Feature = { status: "ok" | "warn" | "drift" | "degenerate"; metrics: Record<string, number>; reason: string };
export type DriftReport = {
  id: number;
  model: string;
  version: number;
  deployment: string | null;
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

export const get = async <T>(path: string, signal?: AbortSignal): Promise<T> => {
  const response = await fetch(apiUrl(path), { credentials: "same-origin", ...(signal ? { signal } : {}) });
  if (!response.ok) {
    const body = (await response.json().catch(() => ({}))) as { detail?: unknown; hint?: string | null };
    const detail = typeof body.detail === "string" ? body.detail : `The server answered ${response.status}.`;
    throw new ApiError(response.status, response.status === 403 ? "You may not see this." : detail, body.hint ?? null);
  }
  return (await response.json()) as T;
};

export type Loading<T> = { data?: T; error?: ApiError | Error; loading: boolean };

/** Load once, and again every `every` milliseconds while the page is visible; a null path loads nothing. */
export const useApi = <T>(path: string | null, every?: number): Loading<T> => {
  const [state, setState] = useState<Loading<T>>({ loading: path !== null });
  useEffect(() => {
    if (path === null) {
      setState({ loading: false });
      return undefined;
    }
    const abort = new AbortController();
    const load = () =>
      get<T>(path, abort.signal).then(
        (data) => setState({ data, loading: false }),
        (error: Error) => {
          if (!abort.signal.aborted) {
            setState((before) => ({ ...before, error, loading: false }));
          }
        },
      );
    setState({ loading: true });
    void load();
    const timer = every ? setInterval(() => document.hidden || void load(), every) : undefined;
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [path, every]);
  return state;
};

/** All pages' items so far, and a function that fetches the next page. */
export const usePages = <T>(path: string): Loading<T[]> & { more?: () => void } => {
  const [state, setState] = useState<{ items: T[]; next: string | null; error?: Error; loading: boolean }>({
    items: [],
    next: null,
    loading: true,
  });
  const fetchPage = (before: string | null) => {
    const separator = path.includes("?") ? "&" : "?";
    return get<Page<T>>(before === null ? path : `${path}${separator}before=${encodeURIComponent(before)}`);
  };
  useEffect(() => {
    let current = true;
    setState({ items: [], next: null, loading: true });
    fetchPage(null).then(
      (page) => current && setState({ items: page.items, next: page.next, loading: false }),
      (error: Error) => current && setState({ items: [], next: null, error, loading: false }),
    );
    return () => {
      current = false;
    };
  }, [path]);
  const { next } = state;
  return {
    data: state.items,
    loading: state.loading,
    ...(state.error ? { error: state.error } : {}),
    ...(next === null
      ? {}
      : {
          more: () =>
            void fetchPage(next).then((page) =>
              setState((before) => ({ items: [...before.items, ...page.items], next: page.next, loading: false })),
            ),
        }),
  };
};
