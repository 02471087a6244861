// The window onto a drawing: where it begins, and how one moves and enlarges it.
import { type PointerEvent, useEffect, useRef, useState } from "react";

import { type Drawing, HEIGHT, WIDTH } from "./layout.ts";

export type View = { x: number; y: number; zoom: number };

export const PADDING = 16;
export const TALLEST = 900; // of a window, in pixels
export const READABLE = 0.8; // a drawing that would have to be smaller than this does not begin fitted: one pans

export const scale = (drawing: Drawing, width: number) =>
  Math.min(1, (width - 2 * PADDING) / drawing.width, (TALLEST - 2 * PADDING) / drawing.height);

const centred = (drawing: Drawing, width: number, zoom: number): View => ({
  x: Math.max(PADDING, (width - drawing.width * zoom) / 2),
  y: PADDING,
  zoom,
});

/** All of it, however small. */
export const fit = (drawing: Drawing, width: number) => centred(drawing, width, scale(drawing, width));

/** As much of it as can be read, from its first node on. */
export const first = (drawing: Drawing, width: number): View => {
  const zoom = Math.max(READABLE, scale(drawing, width));
  const view = centred(drawing, width, zoom);
  const start = drawing.nodes[0];
  const within = (at: number, size: number, whole: number) => Math.min(PADDING, Math.max(size - whole * zoom - PADDING, at));
  if (start && drawing.direction === "down" && drawing.width * zoom > width - 2 * PADDING) {
    view.x = within(width / 2 - (start.x + WIDTH / 2) * zoom, width, drawing.width);
  }
  if (start && drawing.direction === "right" && drawing.height * zoom > TALLEST - 2 * PADDING) {
    view.y = within(TALLEST / 2 - (start.y + HEIGHT / 2) * zoom, TALLEST, drawing.height);
  }
  return view;
};

/** Width of an element, as it changes. */
export const useWidth = () => {
  const [element, setElement] = useState<HTMLDivElement | null>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!element) {
      return undefined;
    }
    const observer = new ResizeObserver(([entry]) => setWidth(entry?.contentRect.width ?? 0));
    observer.observe(element);
    setWidth(element.getBoundingClientRect().width);
    return () => observer.disconnect();
  }, [element]);
  return { element, setElement, width };
};

/** How far to move what begins at `at` so that all of it is seen. */
export const intoSight = (at: number, size: number, room: number): number =>
  at < PADDING ? PADDING - at : Math.min(0, room - PADDING - size - at);

export const zoomed = (view: View, factor: number, x: number, y: number): View => {
  const zoom = Math.min(3, Math.max(0.05, view.zoom * factor));
  const by = zoom / view.zoom;
  return { zoom, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
};

/** Ctrl (or a pinch) and the wheel; the wheel alone scrolls the page, as everywhere. */
export const useWheelZoom = (element: HTMLDivElement | null, zoom: (factor: number, x: number, y: number) => void) => {
  const latest = useRef(zoom);
  latest.current = zoom;
  useEffect(() => {
    if (!element) {
      return undefined;
    }
    const turn = (event: WheelEvent) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault(); // which a listener of React's could not
        const box = element.getBoundingClientRect();
        latest.current(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
      }
    };
    element.addEventListener("wheel", turn, { passive: false });
    return () => element.removeEventListener("wheel", turn);
  }, [element]);
};

/** Dragging moves the drawing; a click beside the nodes unselects. */
export const usePan = (view: View, move: (view: View) => void, click: () => void) => {
  const drag = useRef<{ x: number; y: number; from: View; moved: boolean } | null>(null);
  return {
    cursor: "grab",
    touchAction: "none",
    userSelect: "none" as const,
    onPointerDown: (event: PointerEvent) => {
      if (event.button === 0 && !(event.target as Element).closest("button")) {
        drag.current = { x: event.clientX, y: event.clientY, from: view, moved: false };
        event.currentTarget.setPointerCapture(event.pointerId);
      }
    },
    onPointerMove: (event: PointerEvent) => {
      const start = drag.current;
      if (start) {
        const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
        start.moved ||= Math.hypot(dx, dy) > 3;
        if (start.moved) {
          move({ ...start.from, x: start.from.x + dx, y: start.from.y + dy });
        }
      }
    },
    onPointerUp: () => {
      if (drag.current && !drag.current.moved) {
        click();
      }
      drag.current = null;
    },
  };
};
