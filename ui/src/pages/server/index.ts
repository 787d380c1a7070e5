/** What the server is and goes by: its state, its configuration, its flags. */
export { ConfigurationPage } from './ConfigurationPage';
export { FlagsPage } from './FlagsPage';
export { StatusPage } from './StatusPage';
