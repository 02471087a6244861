// One ES module on the host's React, router and Chakra: they are taken from the globals that Airflow's UI publishes,
// so the pages share its theme, its dark mode and its navigation, and the bundle holds our own code only.
import { build } from "esbuild";

const HOST = {
  react: "React",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
  "@chakra-ui/react": "ChakraUI",
};

const host = {
  name: "host-globals",
  setup(context) {
    context.onResolve({ filter: /^(react|react\/jsx-runtime|react-router-dom|@chakra-ui\/react)$/ }, ({ path }) => ({
      path,
      namespace: "host",
    }));
    context.onLoad({ filter: /.*/, namespace: "host" }, ({ path }) => ({
      contents: `module.exports = globalThis.${HOST[path]};`,
      loader: "js",
    }));
  },
};

await build({
  entryPoints: ["src/main.tsx"],
  outfile: process.argv[2] ?? "../static/windsock.js",
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  minify: true,
  legalComments: "none",
  charset: "utf8",
  plugins: [host],
  logLevel: "info",
});
