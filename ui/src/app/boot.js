// Runs before the first paint, as a blocking classic script: applies the remembered theme.
(function () {
  var theme = null;
  try {
    theme = localStorage.getItem('cupola.theme');
  } catch (_) {
    // Storage may be forbidden; the system's theme is right then.
  }
  if (theme !== 'light' && theme !== 'dark') {
    theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  }
  document.documentElement.dataset.theme = theme;
})();
