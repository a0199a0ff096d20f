import { layout, prefix, route, type RouteConfig } from "@react-router/dev/routes"

const pages: RouteConfig = [
  route("about", "routes/about.tsx"),
  route("page", "routes/page.tsx", [route("inner", "routes/inner.tsx")]),
  route("form", "routes/form.tsx"),
  route("late", "routes/late.tsx"),
  route("cached", "routes/cached.tsx"),
  route("prerendered", "routes/prerendered.tsx"),
  route("told", "routes/told.ts"),
  route("missing/*", "routes/missing.tsx"),
  layout("routes/members.tsx", [route("members", "routes/member.tsx")]),
  route("account", "routes/account.tsx"),
  route("failing-middleware", "routes/failing.tsx", [route("*", "routes/scene.ts", { id: "never" })]),
  layout("routes/twice.tsx", [
    route("twice", "routes/twice-page.tsx"),
    route("twice-resource", "routes/scene.ts", { id: "twice-scene" }),
  ]),
  ...prefix("plain", [
    route("page", "routes/plain-page.tsx"),
    route("*", "routes/scene.ts", { id: "plain-scene" }),
  ]),
  route("admin", "routes/admin.tsx", [route("*", "routes/admin-scene.ts")]),
  route("sub", "routes/sub.tsx", [route("*", "routes/scene.ts", { id: "sub-scene" })]),
  route("*", "routes/scene.ts"),
]

export default pages
