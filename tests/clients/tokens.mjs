// Access tokens of one subject, as an authorisation server renews them.

import { generateKeyPairSync, randomUUID, sign } from "node:crypto";

const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** The vars that make the filter know these tokens. */
export const TOKEN_VARS = {
  JWKS: JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "one", alg: "RS256", use: "sig" }] }),
  JWT_ISSUER: "https://login.example.com",
  JWT_AUDIENCE: "https://api.example.com",
};

/** Another token of the same subject. */
export function renewedToken() {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: TOKEN_VARS.JWT_ISSUER, aud: TOKEN_VARS.JWT_AUDIENCE, sub: "shop-17", iat: now, exp: now + 300, jti: randomUUID() };
  const text = `${base64({ alg: "RS256", typ: "at+jwt", kid: "one" })}.${base64(claims)}`;
  return `${text}.${sign("sha256", Buffer.from(text), privateKey).toString("base64url")}`;
}
