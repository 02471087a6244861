// What every page is made of: states of loading, one table, badges, times.
import { Alert, Badge, Box, Button, Spinner, Table, Text } from "@chakra-ui/react";
import { Component, type ReactNode } from "react";

import { ApiError, type Loading } from "./api.ts";

/** A render error of ours must never take Airflow's page with it. */
export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    return this.state.error === null ? (
      this.props.children
    ) : (
      <Problem error={new Error(`Windsock's page failed: ${this.state.error.message}`)} />
    );
  }
}

export const Problem = ({ error }: { error: Error }) => (
  <Alert.Root status="error" my={4} role="alert">
    <Alert.Indicator />
    <Alert.Content>
      <Alert.Title>{error.message}</Alert.Title>
      {error instanceof ApiError && error.hint ? <Alert.Description>{error.hint}</Alert.Description> : null}
    </Alert.Content>
  </Alert.Root>
);

export const Empty = ({ children }: { children: ReactNode }) => (
  <Box borderWidth="1px" borderStyle="dashed" borderRadius="md" p={8} my={4} textAlign="center" color="fg.muted">
    {children}
  </Box>
);

/** Shows a spinner, the error or the content; what was loaded before stays while it is loaded again. */
export const Loaded = <T,>({ state, children }: { state: Loading<T>; children: (data: T) => ReactNode }) => {
  if (state.data !== undefined) {
    return children(state.data);
  }
  return state.error ? <Problem error={state.error} /> : <Spinner m={4} aria-label="Loading" />;
};

export type Column<T> = { title: string; cell: (row: T) => ReactNode };

export const DataTable = <T,>({
  rows,
  columns,
  id,
  empty,
  more,
}: {
  rows: T[];
  columns: Column<T>[];
  id: (row: T) => string;
  empty: ReactNode;
  more?: (() => void) | undefined;
}) =>
  rows.length === 0 ? (
    <Empty>{empty}</Empty>
  ) : (
    <>
      <Table.ScrollArea>
        <Table.Root size="sm" variant="line">
          <Table.Header>
            <Table.Row>
              {columns.map((column) => (
                <Table.ColumnHeader key={column.title}>{column.title}</Table.ColumnHeader>
              ))}
            </Table.Row>
          </Table.Header>
          <Table.Body>
            {rows.map((row) => (
              <Table.Row key={id(row)}>
                {columns.map((column) => (
                  <Table.Cell key={column.title} verticalAlign="top">
                    {column.cell(row)}
                  </Table.Cell>
                ))}
              </Table.Row>
            ))}
          </Table.Body>
        </Table.Root>
      </Table.ScrollArea>
      {more ? (
        <Button onClick={more} size="sm" variant="outline" mt={3}>
          More
        </Button>
      ) : null}
    </>
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
  <Badge colorPalette={COLORS[value] ?? "gray"}>{label ?? value}</Badge>
);

export const Time = ({ at }: { at: string | null }) =>
  at === null ? <>–</> : <time dateTime={at}>{new Date(at).toLocaleString()}</time>;

export const Mono = ({ children }: { children: ReactNode }) => (
  <Text as="span" fontFamily="mono" fontSize="xs" wordBreak="break-all">
    {children}
  </Text>
);

export const number = (value: number): string => Number(value.toPrecision(4)).toString();

export const Metrics = ({ values }: { values: Record<string, number> }) => (
  <>
    {Object.entries(values)
      .sort(([left], [right]) => left.localeCompare(right))
      .map(([name, value]) => (
        <Text as="div" key={name} whiteSpace="nowrap">
          {name} <b>{number(value)}</b>
        </Text>
      ))}
  </>
);
