/**
 * What a website asks for its customer, in TypeScript: types made from the interface's own description by
 * openapi-typescript (`make client-types`), requests by openapi-fetch.
 *
 *     npx tsc && node website.js http://127.0.0.1:9479 TOKEN alice +31201234567
 */
import createClient from "openapi-fetch";
import type { components, paths } from "./charging";

declare const process: { argv: string[] };
const [url, token, account, number] = process.argv.slice(2) as [string, string, string, string];
const engine = createClient<paths>({ baseUrl: `${url}/v1`, headers: { Authorization: `Bearer ${token}` } });

/** Each answer is what is wanted, or a problem that says what is wrong. */
function granted<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

async function main(): Promise<void> {
  granted(
    await engine.POST("/accounts/{account}/top-ups", {
      params: { path: { account }, header: { "idempotency-key": "order-1" } },
      body: { amount: "25.00" },
    }),
  );
  // Only what is named changes: nothing else of the number is sent.
  const edit: components["schemas"]["NumberEdit"] = { forward_to: "+31612345678" };
  const forwarded = granted(await engine.PATCH("/numbers/{number}", { params: { path: { number } }, body: edit }));
  const balance = granted(await engine.GET("/accounts/{account}/balance", { params: { path: { account } } }));
  console.log(`${account} has ${balance.credit.now} euro; ${number} forwards to ${forwarded.forward_to}`);
}

main();
