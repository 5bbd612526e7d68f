// @ts-check
/**
 * A limit in front of routes of Express. Ask it twice within a minute:
 *
 *     weir node &                       # knows the limit user_home: one a minute
 *     node app.mjs &
 *     curl -i 'http://127.0.0.1:3000/user_home?name=ada'
 */
import express from "express";
import { Remote, WeirError } from "weir-client";

const apiKey = process.env["WEIR_API_KEY"];
const nodes = (process.env["WEIR_URLS"] ?? "http://127.0.0.1:4000").split(",");
const weir = new Remote(nodes, apiKey === undefined ? {} : { apiKey });

/**
 * Lets a request pass if `limit` has room for whom `by` finds in it.
 *
 * @param {import("weir-client").Limit} limit
 * @param {(request: express.Request) => string | undefined} by
 * @returns {express.RequestHandler}
 */
function limited(limit, by) {
  return async (request, response, next) => {
    const key = by(request);
    if (!key) return void response.status(401).send("User ID Required");
    try {
      const outcome = await limit.key(key).check();
      response.set("X-RateLimit-Limit", String(outcome.limit));
      response.set("X-RateLimit-Remaining", String(outcome.remaining));
      response.set("X-RateLimit-Reset", seconds(outcome.resetAfterMs));
      if (outcome.allowed) return next();
      response.set("Retry-After", seconds(outcome.retryAfterMs));
      response.status(429).send("Too Many Requests");
    } catch (error) {
      if (!(error instanceof WeirError)) throw error;
      // Nobody decided. Here nobody passes then; `next()` in its place would let everybody pass.
      console.error(`${error.name}: ${error.message}`);
      response.set("Retry-After", seconds(error.retryAfterMs ?? 1_000)).status(503).send("Try again");
    }
  };
}

/** @param {number} millis */
function seconds(millis) {
  return String(Math.ceil(millis / 1_000));
}

/** @param {express.Request} request */
function user(request) {
  const { name } = request.query;
  return request.get("X-User-Id") ?? (typeof name === "string" ? name : undefined);
}

const app = express();
app.get("/user_home", limited(weir.limit("user_home"), user), (request, response) => {
  response.type("text/plain").send(`Hello, ${user(request)}`);
});

const server = app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address === "object") console.log(`http://127.0.0.1:${address.port}`);
});
