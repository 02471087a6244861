// What every page is made of: states of loading, one table, badges, times.
import { Alert, Badge, Box, Button, HStack, Link, Skeleton, Stack, Table, Text } from "@chakra-ui/react";
import { Component, Fragment, type ReactNode, useState } from "react";
import { Link as RouterLink } from "react-router-dom";

import { ApiError, type Gate, type Loading } from "./api.ts";
import { duration, number, plain, shortDigest, time, words } from "./format.ts";

/** A render error of ours must never take Airflow's page with it. */
export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    return error === null ? (
      this.props.children
    ) : (
      <Problem error={new Error(`Windsock's page failed: ${error.message}`)} retry={() => this.setState({ error: null })} />
    );
  }
}

export const Problem = ({ error, retry }: { error: Error; retry?: () => void }) => (
  <Alert.Root status="error" my={4} role="alert">
    <Alert.Indicator />
    <Alert.Content>
      <Alert.Title>{error.message}</Alert.Title>
      {error instanceof ApiError && error.hint ? <Alert.Description>{error.hint}</Alert.Description> : null}
    </Alert.Content>
    {retry ? (
      <Button size="xs" variant="outline" onClick={retry} alignSelf="center">
        Try again
      </Button>
    ) : null}
  </Alert.Root>
);

export const Empty = ({ children }: { children: ReactNode }) => (
  <Box borderWidth="1px" borderStyle="dashed" borderRadius="md" p={8} my={4} textAlign="center" color="fg.muted">
    {children}
  </Box>
);

/** Shows a place holder, the error or the content; what was loaded before stays, with a word, when loading fails later. */
export const Loaded = <T,>({ state, children }: { state: Loading<T>; children: (data: T) => ReactNode }) => {
  if (state.data === undefined) {
    return state.error ? (
      <Problem error={state.error} retry={state.retry} />
    ) : (
      <Stack gap={3} my={4} role="status" aria-label="Loading">
        {[0, 1, 2].map((row) => (
          <Skeleton key={row} height="5" />
        ))}
      </Stack>
    );
  }
  return (
    <>
      {state.error ? <Problem error={state.error} retry={state.retry} /> : null}
      {children(state.data)}
    </>
  );
};

export type Column<T> = { title: string; cell: (row: T) => ReactNode; wide?: boolean };

export const DataTable = <T,>({
  rows,
  columns,
  id,
  empty,
  more,
  detail,
  label,
}: {
  rows: T[];
  columns: Column<T>[];
  id: (row: T) => string;
  empty: ReactNode;
  label: string;
  more?: (() => void) | undefined;
  /** What opens below a row; a row has a button for it. */
  detail?: (row: T) => ReactNode;
}) => {
  const [open, setOpen] = useState<string | null>(null);
  const width = columns.length + (detail ? 1 : 0);
  return (
    <>
      {rows.length === 0 ? (
        <Empty>{more ? "Nothing that you may see here; there is more." : empty}</Empty>
      ) : (
        <Table.ScrollArea>
          <Table.Root size="sm" variant="line" aria-label={label}>
            <Table.Header>
              <Table.Row>
                {detail ? <Table.ColumnHeader width="1" /> : null}
                {columns.map((column) => (
                  <Table.ColumnHeader key={column.title} whiteSpace="nowrap">
                    {column.title}
                  </Table.ColumnHeader>
                ))}
              </Table.Row>
            </Table.Header>
            <Table.Body>
              {rows.map((row) => {
                const key = id(row);
                const opened = open === key;
                return (
                  <Fragment key={key}>
                    <Table.Row>
                      {detail ? (
                        <Table.Cell verticalAlign="top" pr={0}>
                          <Expander opened={opened} what={key} toggle={() => setOpen(opened ? null : key)} />
                        </Table.Cell>
                      ) : null}
                      {columns.map((column) => (
                        <Table.Cell
                          key={column.title}
                          verticalAlign="top"
                          {...(column.wide ? { minWidth: "14rem", overflowWrap: "anywhere", whiteSpace: "normal" } : { whiteSpace: "nowrap" })}
                        >
                          {column.cell(row)}
                        </Table.Cell>
                      ))}
                    </Table.Row>
                    {detail && opened ? (
                      <Table.Row>
                        <Table.Cell colSpan={width} bg="bg.muted" px={6} py={4} whiteSpace="normal" overflowWrap="anywhere">
                          {detail(row)}
                        </Table.Cell>
                      </Table.Row>
                    ) : null}
                  </Fragment>
                );
              })}
            </Table.Body>
          </Table.Root>
        </Table.ScrollArea>
      )}
      {more ? (
        <Button onClick={more} size="sm" variant="outline" mt={3}>
          More
        </Button>
      ) : null}
    </>
  );
};

const Expander = ({ opened, toggle, what }: { opened: boolean; toggle: () => void; what: string }) => (
  <Button
    size="2xs"
    variant="ghost"
    aria-expanded={opened}
    aria-label={`${opened ? "Close" : "Open"} the details of ${what}`}
    onClick={toggle}
  >
    <Box as="span" transform={opened ? "rotate(90deg)" : undefined} transition="transform 0.1s">
      ▸
    </Box>
  </Button>
);

const COLORS: Record<string, string> = {
  success: "green",
  cached: "teal",
  ready: "green",
  ok: "green",
  active: "green",
  running: "blue",
  pending: "blue",
  warn: "orange",
  failed: "red",
  drift: "red",
  degenerate: "purple",
};

export const Status = ({ value, label }: { value: string; label?: string }) => (
  <Badge colorPalette={COLORS[value] ?? "gray"}>{label ?? words(value)}</Badge>
);

export const stateColor = (value: string): string => COLORS[value] ?? "gray";

export const Time = ({ at }: { at: string | null | undefined }) =>
  at ? <time dateTime={at}>{time(at)}</time> : <>–</>;

export const Took = ({ from, to }: { from: string; to: string | null }) => <>{to ? duration(from, to) : "–"}</>;

export const Mono = ({ children }: { children: ReactNode }) => (
  <Text as="span" fontFamily="mono" fontSize="xs" overflowWrap="anywhere">
    {children}
  </Text>
);

/** A digest by its first digits; the whole of it is in the tooltip, and is what a click copies. */
export const Digest = ({ value }: { value: string }) => {
  const [copied, setCopied] = useState(false);
  const copy = () => {
    void globalThis.navigator.clipboard?.writeText(value).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    });
  };
  return (
    <Button
      size="2xs"
      variant="ghost"
      px={1}
      height="auto"
      fontFamily="mono"
      fontWeight="normal"
      title={`${value} (click to copy)`}
      aria-label={`Copy ${value}`}
      onClick={copy}
    >
      {copied ? "copied" : shortDigest(value)}
    </Button>
  );
};

/** A link inside Airflow. */
export const To = ({ to, children, title }: { to: string; children: ReactNode; title?: string }) => (
  <Link asChild color="fg.info" {...(title ? { title } : {})}>
    <RouterLink to={to}>{children}</RouterLink>
  </Link>
);

/** A link out of Airflow's pages, in a tab of its own. */
export const Out = ({ href, children }: { href: string; children: ReactNode }) => (
  <Link href={href} target="_blank" rel="noreferrer" color="fg.info">
    {children}
  </Link>
);

export const Pairs = ({ values }: { values: Record<string, unknown> }) => {
  const entries = Object.entries(values).sort(([left], [right]) => left.localeCompare(right));
  return entries.length === 0 ? (
    <>–</>
  ) : (
    <HStack wrap="wrap" columnGap={4} rowGap={0}>
      {entries.map(([name, value]) => (
        <Text as="span" key={name} overflowWrap="anywhere">
          <Text as="span" color="fg.muted">
            {name}
          </Text>{" "}
          {typeof value === "number" ? <b>{number(value)}</b> : plain(value)}
        </Text>
      ))}
    </HStack>
  );
};

export const Gates = ({ gates }: { gates: Gate[] }) =>
  gates.length === 0 ? (
    <>–</>
  ) : (
    <>
      {gates.map((gate) => (
        <Box key={gate.detail} color={gate.passed ? undefined : "fg.error"}>
          {gate.passed ? "✓" : "✗"} {gate.detail}
        </Box>
      ))}
    </>
  );

// As Airflow writes it, with the colons and the plus of a time: its tabs compare addresses letter by letter.
const part = (name: string): string => encodeURIComponent(name).replaceAll("%3A", ":").replaceAll("%2B", "+");

export const runPath = (dagId: string, runId: string): string => `/dags/${part(dagId)}/runs/${part(runId)}`;

export const lineagePath = (node: string): string => `/plugin/windsock?tab=lineage&node=${encodeURIComponent(node)}`;
