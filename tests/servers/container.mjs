// Makes a container in Azurite, which has no tool for it: `node container.mjs ENDPOINT ACCOUNT KEY CONTAINER`. The
// request is signed with the account's shared key, as Azure's documentation says.
import { createHmac } from "node:crypto";

const [endpoint, account, key, container] = process.argv.slice(2);
const url = new URL(`${endpoint}/${container}?restype=container`);
const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2021-08-06" };
const named = Object.keys(headers).sort().map((name) => `${name}:${headers[name]}\n`).join("");
const text = `PUT${"\n".repeat(12)}${named}/${account}${url.pathname}\nrestype:container`;
const signature = createHmac("sha256", Buffer.from(key, "base64")).update(text, "utf8").digest("base64");
headers.Authorization = `SharedKey ${account}:${signature}`;
const answer = await fetch(url, { method: "PUT", headers });
if (answer.status !== 201) {
  console.error(answer.status, await answer.text());
  process.exit(1);
}
