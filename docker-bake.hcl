# Images for both platforms: `pnpm images --prepare`, then `docker buildx bake`.
variable "BASE" {
  default = "node:24.21.0-slim@sha256:0e0ff40c39bc087845bfb27465a0df4ea419520094bc35842ff83dd8cbe6f9b6"
}
variable "PREFIX" {
  default = "cluster-connect/"
}
variable "VERSION" {
  default = "0.1.0"
}
variable "REVISION" {
  default = "unknown"
}

group "default" {
  targets = ["image"]
}

target "image" {
  name       = app
  matrix     = { app = ["relay", "agent", "auth-proxy", "cli"] }
  context    = "dist/images/${app}"
  dockerfile = "../../../apps/${app}/Dockerfile"
  platforms  = ["linux/amd64", "linux/arm64"]
  tags       = ["${PREFIX}${app}:${VERSION}"]
  args       = { BASE = BASE, VERSION = VERSION, REVISION = REVISION }
}
