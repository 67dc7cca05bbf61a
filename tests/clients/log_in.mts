// As a front end would use the client that is generated for it; TypeScript refuses what the document does not say.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.ts";

const email = "moderator@example.org";
const client = createClient<paths>({ baseUrl: process.env.USERSVC_URL! });

const refused = await client.POST("/api/v1/auth/login", { body: { email, password: "wrong" } });
if (!refused.error) throw new Error("a wrong password was taken");
const code: string = refused.error.error.code;

const answer = await client.POST("/api/v1/auth/login", {
  body: { email, password: process.env.USERSVC_PASSWORD! },
});
if (answer.error) throw new Error(answer.error.error.code);
const pair: components["schemas"]["TokenPairOut"] = answer.data.data;

const headers = { Authorization: `Bearer ${pair.access_token}` };
const mine = await client.GET("/api/v1/users/me", { headers });
if (mine.error) throw new Error(mine.error.error.code);
const role: "user" | "moderator" | "admin" = mine.data.data.role;

const ended = await client.POST("/api/v1/auth/logout", { body: { refresh_token: pair.refresh_token } });
if (ended.error) throw new Error(ended.error.error.code);
console.log(JSON.stringify({ code, email: mine.data.data.email, role }));
