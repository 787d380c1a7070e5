import { expect, test } from 'vitest';
import { prometheusPageOf } from './prometheusAddress';

test('addresses of Prometheus lead to the right page', () => {
  for (const [path, search, page] of [
    ['/targets', '?search=node', '/targets?filter=node'],
    ['/targets', '?pool=a&health=down&search=b+c', '/targets?health=down&filter=a+b+c'],
    ['/targets', '?health=UP', '/targets?health=up'],
    ['/targets', '?health=down&health=unknown', '/targets'],
    ['/targets', '?scrapePool=', '/targets'],
    ['/service-discovery', '', '/targets'],
    ['/service-discovery', '?pool=node', '/targets?filter=node'],
    ['/alerts', '?search=Disk&state=firing', '/alerts?state=firing&filter=Disk'],
    ['/alerts', '?state=inactive', '/alerts'],
    ['/rules', '?search=Disk', '/rules?filter=Disk'],
    ['/tsdb-status', '', '/storage'],
    ['/tsdb-status/', '', '/storage'],
    ['/alertmanager-discovery', '', '/status'],
    // Ours, and what Explore reads itself.
    ['/targets', '?filter=search%3D"x"&health=down', null],
    ['/alerts', '?state=pending&open=1', null],
    ['/graph', '?g0.expr=up&search=x', null],
    ['/storage', '', null],
    ['/', '', null],
  ] as const) {
    expect(prometheusPageOf(path, search), `${path}${search}`).toBe(page);
  }
});
