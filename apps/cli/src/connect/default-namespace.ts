/** Where the parts in the cluster are installed; a file of its own, as help needs it and nothing else of theirs. */
export const DEFAULT_NAMESPACE: string = "cluster-connect";
