/** Destroys what it names. */
interface Destroyable {
  destroy(): unknown;
}

/**
 * Keeps a listener's failure to the one socket that it looked at: that socket ends, and the process goes on.
 *
 * @param onFailed told of the failure; must not throw.
 */
export function guardSocket<S extends Destroyable>(
  look: (socket: S) => void,
  onFailed: (error: unknown) => void = () => undefined,
): (socket: S) => void {
  return (socket) => {
    try {
      look(socket);
    } catch (error) {
      socket.destroy();
      onFailed(error);
    }
  };
}
