/** Grafana's unit ids and what they make of a number. The behaviour is fixed by golden vectors, see the test. */
import {
  clockMilliseconds,
  clockSeconds,
  dated,
  days,
  dhms,
  durationMilliseconds,
  durationSeconds,
  fromNow,
  hms,
  hours,
  microseconds,
  milliseconds,
  minutes,
  nanoseconds,
  seconds,
} from './durations';
import { fixed, scaled, suffixed, tidy, type Decimals, type Formatted, type Formatter } from './number';

const SI = ['f', 'p', 'n', 'µ', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
const SI_ONE = SI.indexOf('');
const IEC = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'Zi', 'Yi'];
const COUNT = ['', 'K', 'M', 'B', 'T'];

/** Decimal prefixes; `offset` 1 means that the number is already in thousands. */
function si(unit: string, offset = 0): Formatter {
  return scaled(
    1000,
    SI.map((prefix) => ` ${prefix}${unit}`),
    SI_ONE + offset,
  );
}

function iec(unit: string, offset = 0): Formatter {
  return scaled(
    1024,
    IEC.map((prefix) => ` ${prefix}${unit}`),
    offset,
  );
}

/** K, M, B, T and then the name of what is counted. */
function counted(unit: string): Formatter {
  const scale = scaled(1000, COUNT);
  return (value, decimals) => {
    const { text, suffix } = scale(value, decimals);
    return { text, suffix: `${suffix ?? ''} ${unit}` };
  };
}

function currency(symbol: string, isSuffix = false): Formatter {
  const scale = scaled(1000, COUNT);
  return (value, decimals) => {
    const { text, suffix } = scale(Math.abs(value), decimals);
    const sign = value < 0 ? '-' : '';
    if (isSuffix) return { text: `${sign}${text}`, suffix: `${suffix ?? ''} ${symbol}` };
    return { text, prefix: `${sign}${symbol}`, suffix };
  };
}

function either(yes: string, no: string): Formatter {
  return (value) => ({ text: value ? yes : no });
}

const hex: Formatter = (value, decimals) => ({
  text: parseFloat(fixed(value, decimals)).toString(16).toUpperCase(),
});

const hex0x: Formatter = (value, decimals) => {
  const { text } = hex(value, decimals);
  return { text: text.startsWith('-') ? `-0x${text.slice(1)}` : `0x${text}` };
};

const percent = suffixed('%');

const BYTES_AND_BITS: Record<string, Formatter> = {
  bytes: iec('B'),
  decbytes: si('B'),
  bits: iec('b'),
  decbits: si('b'),
  kbytes: iec('B', 1),
  mbytes: iec('B', 2),
  gbytes: iec('B', 3),
  tbytes: iec('B', 4),
  pbytes: iec('B', 5),
  deckbytes: si('B', 1),
  decmbytes: si('B', 2),
  decgbytes: si('B', 3),
  dectbytes: si('B', 4),
  decpbytes: si('B', 5),
  Bps: si('B/s'),
  binBps: iec('B/s'),
  KBs: si('B/s', 1),
  MBs: si('B/s', 2),
  GBs: si('B/s', 3),
  TBs: si('B/s', 4),
  KiBs: iec('B/s', 1),
  MiBs: iec('B/s', 2),
  GiBs: iec('B/s', 3),
  TiBs: iec('B/s', 4),
  bps: si('b/s'),
  binbps: iec('b/s'),
  Kbits: si('b/s', 1),
  Mbits: si('b/s', 2),
  Gbits: si('b/s', 3),
  Tbits: si('b/s', 4),
  Kibits: iec('b/s', 1),
  Mibits: iec('b/s', 2),
  Gibits: iec('b/s', 3),
  pps: si('p/s'),
};

const COUNTS: Record<string, Formatter> = {
  cps: counted('c/s'),
  ops: counted('ops/s'),
  reqps: counted('req/s'),
  rps: counted('rd/s'),
  wps: counted('wr/s'),
  iops: counted('io/s'),
  eps: counted('evt/s'),
  mps: counted('msg/s'),
  recps: counted('rec/s'),
  rowsps: counted('rows/s'),
  cpm: counted('c/m'),
  opm: counted('ops/m'),
  reqpm: counted('req/m'),
  rpm: counted('rd/m'),
  wpm: counted('wr/m'),
  epm: counted('evts/m'),
  mpm: counted('msgs/m'),
};

const TIME: Record<string, Formatter> = {
  s: seconds,
  ms: milliseconds,
  µs: microseconds,
  ns: nanoseconds,
  m: minutes,
  h: hours,
  d: days,
  dtdurations: durationSeconds,
  dtdurationms: durationMilliseconds,
  dthms: hms,
  dtdhms: dhms,
  timeticks: (value, decimals) => seconds(value / 100, decimals),
  clocks: clockSeconds,
  clockms: clockMilliseconds,
  dateTimeAsIso: dated('YYYY-MM-DD HH:mm:ss'),
  dateTimeAsIsoNoDateIfToday: dated('YYYY-MM-DD HH:mm:ss', 'HH:mm:ss'),
  dateTimeAsUS: dated('MM/DD/YYYY h:mm:ss a'),
  dateTimeAsUSNoDateIfToday: dated('MM/DD/YYYY h:mm:ss a', 'h:mm:ss a'),
  dateTimeAsLocal: dated('YYYY-MM-DD HH:mm:ss'),
  dateTimeAsLocalNoDateIfToday: dated('YYYY-MM-DD HH:mm:ss', 'HH:mm:ss'),
  dateTimeAsSystem: dated('YYYY-MM-DD HH:mm:ss'),
  dateTimeFromNow: fromNow,
};

const OTHER: Record<string, Formatter> = {
  none: suffixed(''),
  '': suffixed(''),
  string: (value) => ({ text: String(value) }),
  short: scaled(1000, ['', ' K', ' Mil', ' Bil', ' Tri', ' Quadr', ' Quint', ' Sext', ' Sept']),
  sishort: si(''),
  percent,
  percentunit: (value, decimals) => percent(100 * value, decimals),
  humidity: suffixed(' %H'),
  dB: suffixed(' dB'),
  dBm: suffixed(' dBm'),
  hex,
  hex0x,
  sci: (value, decimals) => ({ text: value.toExponential(decimals ?? undefined) }),
  locale: (value, decimals) => ({
    text: value.toLocaleString(undefined, { maximumFractionDigits: decimals ?? undefined }),
  }),
  bool: either('True', 'False'),
  bool_yes_no: either('Yes', 'No'),
  bool_on_off: either('On', 'Off'),
  hertz: si('Hz'),
  rothz: si('Hz'),
  rotrpm: suffixed(' rpm'),
  celsius: suffixed(' °C'),
  fahrenheit: suffixed(' °F'),
  farenheit: suffixed(' °F'),
  kelvin: suffixed(' K'),
  degree: suffixed('°'),
  watt: si('W'),
  kwatt: si('W', 1),
  mwatt: si('W', -1),
  joule: si('J'),
  watth: si('Wh'),
  kwatth: si('Wh', 1),
  volt: si('V'),
  mvolt: si('V', -1),
  amp: si('A'),
  mamp: si('A', -1),
  ohm: si('Ω'),
  farad: si('F'),
  henry: si('H'),
  lumens: si('Lm'),
  lux: si('lx'),
  lengthmm: si('m', -1),
  lengthm: si('m'),
  lengthkm: si('m', 1),
  massg: si('g'),
  masskg: si('g', 1),
  litre: si('L'),
  velocityms: suffixed(' m/s'),
  velocitykmh: suffixed(' km/h'),
  pressurembar: si('bar', -1),
  pressurebar: si('bar'),
  pressurepa: si('Pa'),
  pressurehpa: suffixed(' hPa'),
  ppm: suffixed(' ppm'),
  conppm: suffixed(' ppm'),
  flops: si('FLOPS'),
  currencyUSD: currency('$'),
  currencyEUR: currency('€'),
  currencyGBP: currency('£'),
  currencyJPY: currency('¥'),
  currencyCHF: currency('CHF'),
  currencyPLN: currency('zł', true),
  currencyCZK: currency('czk', true),
  currencySEK: currency('kr', true),
};

const BY_ID = new Map<string, Formatter>([
  ...Object.entries(BYTES_AND_BITS),
  ...Object.entries(COUNTS),
  ...Object.entries(TIME),
  ...Object.entries(OTHER),
]);

/** Units whose axis is divided by powers of two. */
const BINARY = /^(bytes|bits|[kmgtp]bytes|binBps|binbps|[KMGT]iBs|[KMG]ibits)$/;

export function isBinaryUnit(unit: string | undefined): boolean {
  return unit !== undefined && BINARY.test(unit);
}

/** Units whose axis is divided as a clock is: in 15s, 30s and 60s. The size is that of one unit in seconds. */
export function secondsPerUnit(unit: string | undefined): number | null {
  switch (unit) {
    case 's':
    case 'dtdurations':
    case 'dthms':
    case 'dtdhms':
    case 'clocks':
      return 1;
    case 'ms':
    case 'dtdurationms':
    case 'clockms':
      return 0.001;
    case 'm':
      return 60;
    case 'h':
      return 3600;
    default:
      return null;
  }
}

function custom(id: string): Formatter | null {
  const colon = id.indexOf(':');
  if (colon <= 0) return null;
  const rest = id.slice(colon + 1);
  switch (id.slice(0, colon)) {
    case 'suffix':
      return suffixed(` ${rest}`);
    case 'prefix':
      return suffixed(rest, true);
    case 'time':
      return dated(rest);
    case 'count':
      return counted(rest);
    case 'currency':
      return currency(rest);
    case 'si': {
      const offset = rest.length > 1 ? SI.indexOf(rest[0] ?? '') : -1;
      return offset < 0 ? si(rest) : si(rest.slice(1), offset - SI_ONE);
    }
    case 'bool': {
      const [yes = '', no = ''] = rest.split('/');
      return either(yes, no);
    }
    default:
      return null;
  }
}

/** What `unit` makes of numbers. An id that nobody knows is a unit of its own: it stands behind the number. */
export function formatterOf(unit: string | undefined | null): Formatter {
  const id = unit ?? '';
  const known = BY_ID.get(id);
  if (known) return known;
  const made = custom(id) ?? suffixed(` ${id}`);
  // Dashboards use few units; remembering them keeps one formatter per unit.
  BY_ID.set(id, made);
  return made;
}

/** A value as people read it: as Grafana writes it, without the zeros that automatic decimals leave. */
export function readable(value: number, unit: string | undefined, decimals?: Decimals): Formatted {
  const shown = formatterOf(unit)(value, decimals);
  return decimals === undefined || decimals === null ? tidy(shown) : shown;
}
