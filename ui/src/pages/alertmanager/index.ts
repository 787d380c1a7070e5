/** The Alertmanager's pages: one chunk, as whoever comes for one of them goes on to the next. */
export { NotificationsPage } from './NotificationsPage';
export { RoutedPage } from './RoutedPage';
export { SilenceFormPage } from './SilenceFormPage';
export { SilencePage } from './SilencePage';
export { SilencesPage } from './SilencesPage';
export { StatusPage } from './StatusPage';
export { WhyPage } from './WhyPage';
