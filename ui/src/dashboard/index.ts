export { DashboardPage } from './view/DashboardPage';
export { DashboardListPage } from './view/DashboardListPage';
