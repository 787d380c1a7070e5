import './theme.css';
import { render } from 'preact';
import { App } from './app/App';
import { openOldAddress } from './app/oldAddress';

// Before anything is drawn, so that the wrong page is never seen.
openOldAddress();

const root = document.getElementById('app');
if (root) render(<App />, root);
