import type { ComponentChildren, JSX } from 'preact';

/**
 * Icons as SVG components: 16 x 16 grid, stroke in the text's colour. They are decoration; the word beside
 * them carries the meaning, so they are hidden from assistive technology.
 */
export interface IconProps {
  size?: number;
  class?: string;
}

export type Icon = (props: IconProps) => JSX.Element;

function drawn(children: ComponentChildren, filled = false): Icon {
  return function DrawnIcon({ size = 16, class: className }: IconProps) {
    return (
      <svg
        class={className}
        width={size}
        height={size}
        viewBox="0 0 16 16"
        fill={filled ? 'currentColor' : 'none'}
        stroke={filled ? 'none' : 'currentColor'}
        stroke-width="1.4"
        stroke-linecap="round"
        stroke-linejoin="round"
        aria-hidden="true"
        focusable="false"
      >
        {children}
      </svg>
    );
  };
}

export const OverviewIcon = drawn(
  <>
    <path d="M2.2 12.2a5.8 5.8 0 0 1 11.6 0z" />
    <path d="M8 6.4V3.6M6.6 3.6h2.8M1.4 14.2h13.2" />
  </>,
);
export const DashboardsIcon = drawn(
  <>
    <rect x="1.8" y="2.2" width="5.2" height="6.4" rx="1" />
    <rect x="9" y="2.2" width="5.2" height="3.6" rx="1" />
    <rect x="1.8" y="10.6" width="5.2" height="3.2" rx="1" />
    <rect x="9" y="7.8" width="5.2" height="6" rx="1" />
  </>,
);
export const ExploreIcon = drawn(
  <>
    <path d="M1.8 13.8V2.2M1.8 13.8h12.4" />
    <path d="m4.4 10.4 2.8-3.6 2.4 1.8 3.6-4.8" />
  </>,
);
export const AlertsIcon = drawn(
  <>
    <path d="M8 1.8a4 4 0 0 0-4 4c0 3.6-1.6 4.6-1.6 5.6h11.2c0-1-1.6-2-1.6-5.6a4 4 0 0 0-4-4z" />
    <path d="M6.6 13.6a1.5 1.5 0 0 0 2.8 0" />
  </>,
);
export const TargetsIcon = drawn(
  <>
    <circle cx="8" cy="8" r="6" />
    <circle cx="8" cy="8" r="2.4" />
    <path d="M8 .8v2.4M8 12.8v2.4M.8 8h2.4M12.8 8h2.4" />
  </>,
);
export const StorageIcon = drawn(
  <>
    <ellipse cx="8" cy="3.8" rx="5.8" ry="2.2" />
    <path d="M2.2 3.8v8.4c0 1.2 2.6 2.2 5.8 2.2s5.8-1 5.8-2.2V3.8M2.2 8c0 1.2 2.6 2.2 5.8 2.2s5.8-1 5.8-2.2" />
  </>,
);
export const SearchIcon = drawn(
  <>
    <circle cx="7" cy="7" r="4.6" />
    <path d="m10.4 10.4 3.8 3.8" />
  </>,
);
export const SunIcon = drawn(
  <>
    <circle cx="8" cy="8" r="2.8" />
    <path d="M8 1.2v1.6M8 13.2v1.6M1.2 8h1.6M13.2 8h1.6M3.2 3.2l1.1 1.1M11.7 11.7l1.1 1.1M12.8 3.2l-1.1 1.1M4.3 11.7l-1.1 1.1" />
  </>,
);
export const MoonIcon = drawn(<path d="M13.6 9.6A6 6 0 0 1 6.4 2.4a6 6 0 1 0 7.2 7.2z" />);
export const KeyboardIcon = drawn(
  <>
    <rect x="1.2" y="3.8" width="13.6" height="8.6" rx="1.4" />
    <path d="M4 6.6h.01M6.7 6.6h.01M9.3 6.6h.01M12 6.6h.01M5 9.7h6" />
  </>,
);
export const ChevronIcon = drawn(<path d="m6 3.6 4.4 4.4L6 12.4" />);
export const CloseIcon = drawn(<path d="m3.6 3.6 8.8 8.8M12.4 3.6l-8.8 8.8" />);
export const PlusIcon = drawn(<path d="M8 3v10M3 8h10" />);
export const PlayIcon = drawn(<path d="M4.4 2.8v10.4L13 8z" />, true);
export const CopyIcon = drawn(
  <>
    <rect x="5.4" y="5.4" width="8.4" height="8.4" rx="1.2" />
    <path d="M10.6 2.8H3.4a1 1 0 0 0-1 1V11" />
  </>,
);
export const HistoryIcon = drawn(
  <>
    <path d="M2.4 8a5.6 5.6 0 1 0 1.8-4.1L2.4 5.4" />
    <path d="M2.4 2.4v3h3M8 5v3.2l2.2 1.3" />
  </>,
);
export const ArrowIcon = drawn(<path d="M3 8h10M9.2 4.2 13 8l-3.8 3.8" />);
export const SendIcon = drawn(<path d="M14 2 7.4 8.6M14 2 9.8 14l-2.4-5.4L2 6.2z" />);
export const RepeatIcon = drawn(
  <>
    <path d="M3 7V5.6A1.6 1.6 0 0 1 4.6 4h8.2M13 9v1.4a1.6 1.6 0 0 1-1.6 1.6H3.2" />
    <path d="m10.8 2 2 2-2 2M5.2 10l-2 2 2 2" />
  </>,
);
export const PersonIcon = drawn(
  <>
    <circle cx="8" cy="5" r="2.8" />
    <path d="M2.6 14c.5-3 2.6-4.6 5.4-4.6s4.9 1.6 5.4 4.6" />
  </>,
);
export const RefreshIcon = drawn(
  <>
    <path d="M13.6 8a5.6 5.6 0 1 1-1.8-4.1l1.8 1.5" />
    <path d="M13.6 2.4v3h-3" />
  </>,
);

/* State marks: filled, so that they are told apart by their outline, without colour. */
export const CriticalIcon = drawn(
  <>
    <path
      fill-rule="evenodd"
      d="M5.2 1.2h5.6l4 4v5.6l-4 4H5.2l-4-4V5.2zM7.2 4.2v4.9h1.6V4.2zm0 6v1.6h1.6v-1.6z"
    />
  </>,
  true,
);
export const WarningIcon = drawn(
  <path fill-rule="evenodd" d="M8 1.2 15.4 14.2H.6zM7.2 5.8v4h1.6v-4zm0 5v1.6h1.6v-1.6z" />,
  true,
);
export const InfoIcon = drawn(
  <path fill-rule="evenodd" d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zM7.2 4v1.6h1.6V4zm0 2.8V12h1.6V6.8z" />,
  true,
);
export const OkIcon = drawn(<path d="m2.4 8.6 3.7 3.8 7.5-8.8" stroke-width="2" />);
export const UnknownIcon = drawn(
  <>
    <path d="M5 5.6a3 3 0 1 1 4.7 2.5C8.6 8.9 8 9.4 8 10.6" stroke-width="1.8" />
    <path d="M8 13.4h.01" stroke-width="2.2" />
  </>,
);
/** Neither well nor ill: over, or not in use. */
export const OffIcon = drawn(<path d="M3 8h10" stroke-width="2" />);
export const PauseIcon = drawn(<path d="M3.6 2.4h3v11.2h-3zM9.4 2.4h3v11.2h-3z" />, true);
/** Pending: an hourglass outline. */
export const PendingIcon = drawn(
  <path d="M4 1.8h8M4 14.2h8M4.8 1.8c0 4 3.2 3.6 3.2 6.2s-3.2 2.2-3.2 6.2M11.2 1.8c0 4-3.2 3.6-3.2 6.2s3.2 2.2 3.2 6.2" />,
);
