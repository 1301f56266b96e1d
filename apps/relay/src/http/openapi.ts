import { PROBLEM } from "@cluster-connect/api";
import { z } from "zod";
import type { Route } from "./route.ts";

/** An OpenAPI document as JSON. */
export type OpenApiDocument = Readonly<Record<string, unknown>>;

/** Describes routes as OpenAPI 3.1, in the order of their paths. */
export function openApiDocument(routes: readonly Route[]): OpenApiDocument {
  const paths = new Map<string, Record<string, unknown>>();
  for (const route of routes.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))) {
    const path = route.path.replaceAll(/:([a-zA-Z]+)/g, "{$1}");
    const operations = paths.get(path) ?? {};
    operations[route.method.toLowerCase()] = operationOf(route);
    paths.set(path, operations);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Cluster Connect relay",
      version: "v1",
      description: "Times are ISO 8601 in UTC. Every error is `application/problem+json` with a stable code.",
    },
    paths: Object.fromEntries(paths),
    components: {
      schemas: { Problem: schemaOf(PROBLEM, "output") },
      securitySchemes: { bearer: { type: "http", scheme: "bearer", description: "A token for the relay's audience." } },
    },
  };
}

function operationOf(route: Route): Readonly<Record<string, unknown>> {
  const parameters = [...parametersOf("path", route.params), ...parametersOf("query", route.query)];
  const body = route.body;
  return {
    summary: route.summary,
    "x-access": route.access,
    security: route.access === "public" ? [] : [{ bearer: [] }],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: schemaOf(body, "input") } } } }),
    responses: {
      200: { description: "Done.", content: contentOf(route) },
      default: {
        description: "An error.",
        content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    },
  };
}

function contentOf({ answer }: Route): Readonly<Record<string, unknown>> {
  if (typeof answer === "string") return { [answer]: { schema: { type: "string" } } };
  return { "application/json": { schema: schemaOf(answer, "output") } };
}

function parametersOf(place: "path" | "query", schema: z.ZodObject | undefined): readonly unknown[] {
  return Object.entries(schema?.shape ?? {}).map(([name, field]) => ({
    name,
    in: place,
    required: place === "path" || !field.safeParse(undefined).success,
    schema: schemaOf(field, "input"),
  }));
}

function schemaOf(schema: z.core.$ZodType, io: "input" | "output"): Readonly<Record<string, unknown>> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return rest;
}
