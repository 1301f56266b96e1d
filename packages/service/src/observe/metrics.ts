import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** The process's numbers in Prometheus' text format. Names begin with `cluster_connect_`. */
export interface Metrics {
  counter<L extends string>(name: string, help: string, labels?: readonly L[]): Counter<L>;
  gauge<L extends string>(name: string, help: string, labels?: readonly L[]): Gauge<L>;
  /** A gauge that is asked when it is read. */
  observe(name: string, help: string, read: () => number): void;
  /** A counter that is kept elsewhere and asked when it is read; it never goes back. */
  observeTotal(name: string, help: string, read: () => number): void;
  /** @param buckets upper bounds, seconds for times. */
  histogram<L extends string>(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: readonly L[],
  ): Histogram<L>;
  /** The text of `/metrics`. */
  text(): Promise<string>;
  readonly contentType: string;
}

const PREFIX = "cluster_connect_";
const DROPPED_HELP = "Lines of the log that were dropped, since their reader did not take them.";

export interface MetricsOptions {
  /** Value of the label `service` on each line. */
  readonly service: string;
  /** Process, memory and event-loop numbers too; off in tests, where many live in one process. */
  readonly process?: boolean;
  /** Lines of the log that were dropped. */
  readonly droppedLines?: () => number;
}

export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service: options.service });
  if (options.process === true) collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const metrics: Metrics = {
    counter: (name, help, labels = []) =>
      new Counter({ name: PREFIX + name, help, labelNames: [...labels], registers }),
    gauge: (name, help, labels = []) => new Gauge({ name: PREFIX + name, help, labelNames: [...labels], registers }),
    observe: (name, help, read) => {
      new Gauge({
        name: PREFIX + name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    },
    observeTotal: (name, help, read) => {
      new Counter({
        name: PREFIX + name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    },
    histogram: (name, help, buckets, labels = []) =>
      new Histogram({ name: PREFIX + name, help, buckets: [...buckets], labelNames: [...labels], registers }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
  if (options.droppedLines !== undefined) {
    metrics.observeTotal("logs_dropped_total", DROPPED_HELP, options.droppedLines);
  }
  return metrics;
}
