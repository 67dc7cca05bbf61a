// A relying service on Node: what it says of each of the tokens that it is handed.
import { createRemoteJWKSet, jwtVerify } from "jose";
import { readFileSync } from "node:fs";

const { jwks, issuer, audience, tokens } = JSON.parse(readFileSync(0, "utf8"));
const keys = createRemoteJWKSet(new URL(jwks));
const found = {};
for (const [name, token] of Object.entries(tokens)) {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience,
      typ: "at+jwt",
      algorithms: ["ES256"],
      clockTolerance: 30,
      requiredClaims: ["sub", "client_id", "jti", "iat", "exp"],
    });
    found[name] = payload.role;
  } catch (error) {
    found[name] = `refused: ${error.code}`;
  }
}
console.log(JSON.stringify(found));
