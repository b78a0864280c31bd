import './tokens.css';
import './base.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { applyTheme, savedTheme } from './theme';

applyTheme(savedTheme());
const place = document.getElementById('app');
if (place === null) throw new Error('The page has no #app.');
createRoot(place).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
