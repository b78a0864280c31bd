import { Component, type ReactNode } from 'react';
import { Button } from './button';
import { Shell } from './shell';

interface Props {
  readonly children: ReactNode;
}

interface State {
  readonly error: Error | undefined;
}

/** Shows what went wrong in the page under it, and a way out, instead of nothing. */
export class Boundary extends Component<Props, State> {
  override state: State = { error: undefined };

  static getDerivedStateFromError(error: unknown): State {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <Shell title="This page broke">
        <p role="alert">{error.message}</p>
        <p>
          <Button
            kind="primary"
            onClick={() => {
              location.reload();
            }}
          >
            Load it again
          </Button>
        </p>
      </Shell>
    );
  }
}
